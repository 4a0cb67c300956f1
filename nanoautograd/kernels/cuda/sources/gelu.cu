// Gaussian error linear unit (derived in manual/gelu.py, where the letters are).
//
//     y  = max(v, -40) Φ(z)               v = x + b, and z: v limited to ±40
//     dx = dy (Φ(z) + z φ(z))                                     by_tanh = 0
//     dx = dy (Φ(z) + z · 2 u'(z) Φ(z) (1 - Φ(z)))                by_tanh = 1
//     db_n = Σ_m dx_mn
//
// Each number is read and written once, and only x and b are kept for the way back. With a bias, a
// thread has MAX_VEC columns, of which it reads the bias once, and goes through every gridDim.y-th
// row; what it has added up to db it leaves in `partial`, which `columns` adds up.

#include "elementwise.cuh"
#include "partials.cuh"

constexpr AccumT C = AccumT(0.79788456080286535588);        // c = √(2/π)
constexpr AccumT CA = C * AccumT(0.044715);                 // c a
constexpr AccumT ROOT_HALF = AccumT(0.70710678118654752440);  // √(1/2)
constexpr AccumT PHI_0 = AccumT(0.39894228040143267794);    // φ(0) = 1/√(2π)

__device__ inline AccumT limited(AccumT v) {            // nan stays
    return v < -40 ? AccumT(-40) : v > 40 ? AccumT(40) : v;
}

__device__ inline AccumT Phi(AccumT z, int by_tanh) {
    return (1 + (by_tanh ? tanh_(z * (C + CA * z * z)) : erf_(z * ROOT_HALF))) / 2;
}
__device__ inline AccumT gelu(AccumT v, int by_tanh) {
    return (v < -40 ? AccumT(-40) : v) * Phi(limited(v), by_tanh);
}
__device__ inline AccumT derivative(AccumT v, int by_tanh) {
    AccumT z = limited(v), P = Phi(z, by_tanh);
    return P + z * (by_tanh ? (2 * C + 6 * CA * z * z) * P * (1 - P) : PHI_0 * exp_(-z * z / 2));
}

extern "C" __global__ void forward(const T* x, T* y, long long n, int by_tanh) {
    each(n, y, x, [=](AccumT x) { return gelu(x, by_tanh); });
}

extern "C" __global__ void backward(const T* x, const T* dy, T* dx, long long n, int by_tanh) {
    each(n, dx, x, dy, [=](AccumT x, AccumT dy) { return dy * derivative(x, by_tanh); });
}

// The first of a thread's columns.
__device__ inline int first_column() { return (blockIdx.x * blockDim.x + threadIdx.x) * MAX_VEC; }

extern "C" __global__ void forward_with_bias(const T* x, const T* b, T* y, int M, int N,
                                             int by_tanh) {
    int n = first_column();
    if (n >= N) return;
    bool whole = N % MAX_VEC == 0 && aligned(x, b, y);
    Vec bs = read(b + n, N - n, whole);
    for (int m = blockIdx.y; m < M; m += gridDim.y) {
        Vec xs = read(x + (long long)m * N + n, N - n, whole);
        for (int j = 0; j != MAX_VEC; j++)
            store(&xs.x[j], gelu(load(&xs.x[j]) + load(&bs.x[j]), by_tanh));
        write(y + (long long)m * N + n, xs, N - n, whole);
    }
}

// partial (gridDim.y, N): in row i what the blocks in row i of the grid add to db. It may be null.
extern "C" __global__ void backward_with_bias(const T* x, const T* b, const T* dy, T* dx, AccumT* partial,
                                              int M, int N, int by_tanh) {
    int n = first_column();
    if (n >= N) return;
    bool whole = N % MAX_VEC == 0 && aligned(x, b, dy, dx);
    Vec bs = read(b + n, N - n, whole);
    AccumT db[MAX_VEC] = {};
    for (int m = blockIdx.y; m < M; m += gridDim.y) {
        Vec xs = read(x + (long long)m * N + n, N - n, whole);
        Vec dys = read(dy + (long long)m * N + n, N - n, whole);
        for (int j = 0; j != MAX_VEC; j++) {
            AccumT d = load(&dys.x[j]) * derivative(load(&xs.x[j]) + load(&bs.x[j]), by_tanh);
            db[j] += d;
            store(&dys.x[j], d);
        }
        write(dx + (long long)m * N + n, dys, N - n, whole);
    }
    if (!partial) return;
    for (int j = 0; j != MAX_VEC && n + j < N; j++) partial[blockIdx.y * (long long)N + n + j] = db[j];
}

// partial of `backward_with_bias`, P rows of it -> db.
extern "C" __global__ void columns(const AccumT* partial, T* db, int P, int N) {
    SHARED(AccumT, scratch);                            // 32 · 33
    add_partials(partial, db, P, N, scratch);
}
