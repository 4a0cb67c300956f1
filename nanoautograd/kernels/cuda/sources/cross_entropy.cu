// Cross entropy of rows of scores with class numbers (derived in manual/cross_entropy.py).
//
//     x    (N, C)  scores                  y    (N,)  class numbers; ignored: those that are `ignored`
//     m    (N,)    largest scores          log_Z (N,) log Σ_c exp(x_nc - m_n)      ell (N,) losses
//     W    ()      rows not ignored        eps        label smoothing
//     dL           ∂L/∂loss: () or (N,)    g    (N,)  ∂L/∂ℓ: dL ("sum"), dL/W ("mean"; for the others
//                                                     W is null), dL_n ("none"); 0 if ignored
//
// Here log p_nc = x_nc - m_n - log Z_n, and all classes weigh the same, so that s_n = Σ_c q_nc is
// (1 - ε) + C ε/C = 1. Of ℓ_n = -Σ_c q_nc log p_nc and dx_nc = g_n (s_n p_nc - q_nc) remains
//
//     ℓ_n = log Z_n - Σ_c q_nc (x_nc - m_n)
//         = log Z_n - (1 - ε)(x_ny - m_n) - ε (Σ_c (x_nc - x_n0)/C + x_n0 - m_n)
//     dx_nc = g_n (exp(x_nc - m_n - log Z_n) - q_nc)         q_nc = (1 - ε)[c = y_n] + ε/C
//
// Differences of scores are taken first: m_n + log Z_n would be rounded as coarsely as the scores are
// large. (m_n is not known before the end of the row, x_n0 is; if that is not finite 0 is in its place.)
//
// A block reads a row once. The largest score is not known before the end, so each thread keeps the
// largest so far, m, and z = Σ exp(x - m) of what it has read; when m grows to m', z ← z exp(m - m')
// (Milakov and Gimelshein 2018, "Online normalizer calculation for softmax", algorithm 3), and two
// such pairs are joined in the same way. The way back reads the row once more and writes dx.

#include "common.cuh"
#include "problem.cuh"

constexpr int ASSERTION = 1;        // a target is out of range

struct Pair {
    AccumT m, z;
};

__device__ inline Pair join(Pair a, Pair b) {
    AccumT m = max_(a.m, b.m);
    if (m == -AccumT(INFINITY_F)) return Pair{m, AccumT(0)};  // nothing but -inf so far
    return Pair{m, a.z * exp_(a.m - m) + b.z * exp_(b.m - m)};
}

__device__ inline Pair with(Pair p, AccumT x) {
    if (x <= p.m) return Pair{p.m, p.z + (p.m == -AccumT(INFINITY_F) ? AccumT(0) : exp_(x - p.m))};
    return Pair{x, p.z * exp_(p.m - x) + AccumT(1)};
}

// Of the 32 threads of a warp, for all of them: their pairs joined, and their sums added up.
__device__ inline void warp_join(Pair& p, AccumT& sum) {
    for (int i = 16; i; i /= 2) {
        p = join(p, Pair{__shfl_xor_sync(ALL_LANES, p.m, i), __shfl_xor_sync(ALL_LANES, p.z, i)});
        sum += __shfl_xor_sync(ALL_LANES, sum, i);
    }
}

// first: the number of the first row, if the rows are a part of others, for the message.
extern "C" __global__ void forward(const T* x, const TargetT* y, AccumT* m, AccumT* log_Z, AccumT* ell,
                                   int* problem, long long first, int C, long long ignored,
                                   AccumT eps) {
    SHARED(AccumT, scratch);                            // 3 · 32
    long long n = blockIdx.x;
    const T* x_n = x + n * C;
    Pair p = {-AccumT(INFINITY_F), AccumT(0)};
    AccumT sum = 0, x_0 = load(x_n);                    // sum: Σ_c (x_nc - x_n0)
    if (!(x_0 - x_0 == 0)) x_0 = 0;
    int vecs = C % MAX_VEC == 0 && aligned(x) ? C / MAX_VEC : 0;      // rows at multiples of 16 bytes
    for (int i = threadIdx.x; i < vecs; i += blockDim.x) {
        Vec w = reinterpret_cast<const Vec*>(x_n)[i];
        for (int j = 0; j < MAX_VEC; j++) {
            AccumT v = load(&w.x[j]);
            p = with(p, v);
            sum += v - x_0;
        }
    }
    for (int c = vecs * MAX_VEC + threadIdx.x; c < C; c += blockDim.x) {
        AccumT v = load(x_n + c);
        p = with(p, v);
        sum += v - x_0;
    }
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    warp_join(p, sum);
    if (lane == 0) {
        scratch[warp] = p.m;
        scratch[32 + warp] = p.z;
        scratch[64 + warp] = sum;
    }
    __syncthreads();
    bool is_warp = lane < warps;
    p = Pair{is_warp ? scratch[lane] : -AccumT(INFINITY_F), is_warp ? scratch[32 + lane] : AccumT(0)};
    sum = is_warp ? scratch[64 + lane] : AccumT(0);
    warp_join(p, sum);
    if (threadIdx.x) return;
    AccumT l = log_(p.z);
    m[n] = p.m;
    log_Z[n] = l;
    long long y_n = y[n];
    if (y_n == ignored) {
        ell[n] = 0;
    } else if (y_n < 0 || y_n >= C) {
        fail_assertion(problem, ASSERTION, first + n, y_n, C);
        ell[n] = 0;
    } else {
        AccumT at_y = eps < 1 ? (1 - eps) * (load(x_n + y_n) - p.m) : AccumT(0);    // no 0 · inf
        ell[n] = l - at_y - (eps ? eps * (sum / C + (x_0 - p.m)) : AccumT(0));
    }
}

// loss = Σ ℓ, or Σ ℓ / W if `mean`; one block. Where all rows are ignored W is 0, and the mean 0/0.
extern "C" __global__ void reduce(const AccumT* ell, const TargetT* y, T* loss, AccumT* W, int N, int C,
                                  long long ignored, int mean) {
    SHARED(AccumT, scratch);                            // 32
    AccumT sum = 0, kept = 0;
    for (int n = threadIdx.x; n < N; n += blockDim.x) {
        sum += ell[n];
        kept += y[n] != ignored;
    }
    sum = block_sum(sum, scratch);
    kept = block_sum(kept, scratch);
    if (threadIdx.x) return;
    if (mean) sum = sum / kept;                         // 0/0 is nan
    *W = kept;
    store(loss, sum);
}

// each: 1 if dL has a number for each row ("none"). A row that is ignored is given its zeros instead
// of being multiplied by 0: dL/W is inf or nan where W = 0, and x may have such numbers too.
extern "C" __global__ void backward(const T* x, const TargetT* y, const AccumT* m, const AccumT* log_Z,
                                    const T* dL, const AccumT* W, T* dx, int C, long long ignored,
                                    AccumT eps, int each) {
    long long n = blockIdx.x, y_n = y[n];
    const T* x_n = x + n * C;
    T* dx_n = dx + n * C;
    AccumT g = load(dL + (each ? n : 0));
    if (W) g /= *W;
    if (y_n == ignored || y_n < 0 || y_n >= C) g = 0;
    AccumT m_n = m[n], l = log_Z[n], rest = eps / C;
    int vecs = C % MAX_VEC == 0 && aligned(x, dx) ? C / MAX_VEC : 0;
    for (int i = threadIdx.x; i < vecs; i += blockDim.x) {
        Vec w = reinterpret_cast<const Vec*>(x_n)[i];
        for (int j = 0; j < MAX_VEC; j++) {
            AccumT q = rest + (i * MAX_VEC + j == y_n ? 1 - eps : AccumT(0));
            store(&w.x[j], g ? g * (exp_(load(&w.x[j]) - m_n - l) - q) : AccumT(0));
        }
        reinterpret_cast<Vec*>(dx_n)[i] = w;
    }
    for (int c = vecs * MAX_VEC + threadIdx.x; c < C; c += blockDim.x) {
        AccumT q = rest + (c == y_n ? 1 - eps : AccumT(0));
        store(dx_n + c, g ? g * (exp_(load(x_n + c) - m_n - l) - q) : AccumT(0));
    }
}
