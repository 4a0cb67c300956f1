// A step of Adam or AdamW for many parameters at once (algorithms and letters: optim/adam.py).
//
//     w  a parameter, θ there        g  its gradient         m, v  the moments; all T
//     s  numbers that depend on the step, the same for all elements, below
//
//     g ← g + λ w,  w ← ρ w          Adam has ρ = 1, AdamW has λ = 0 and ρ = 1 - γ λ_W
//     m ← m + (1 - β₁)(g - m)
//     v ← β₂ v + (1 - β₂) g²
//     w ← w - r m / (√v + e)         r = γ c / (1 - β₁ᵗ),  e = c ε,  c = √(1 - β₂ᵗ)
//
// The last line is that of Adam, w ← w - γ m̂ / (√v̂ + ε) with m̂ = m / (1 - β₁ᵗ) and √v̂ = √v / c, its
// fraction multiplied by c above and below: so what depends on t is r and e, the same for all.
//
// All that is done is to move memory: four arrays are read and three written, each once.
//
// t and γ, which change from step to step, lie in the memory of the GPU, and are no arguments: so a
// launch that was captured in a graph makes the next step each time that it is replayed.

#include "many.cuh"

struct Numbers {
    AccumT lambda, rho, beta1_rest, beta2, beta2_rest, r, e;  // β₁, β₂ rest: 1 - β
};
static_assert(sizeof(Numbers) == 7 * sizeof(AccumT), "as NUMBERS in adam.py");

// One thread for each parameter: t ← t + 1, and its Numbers, of which float has too few digits to
// compute them. x[0] are the t, of int64.
extern "C" __global__ void count(Many<1> p, AccumT* numbers, const double* lr, double beta1,
                                 double beta2, double eps, double decay, int decoupled) {
    int i = threadIdx.x;
    double t = double(++*reinterpret_cast<long long*>(p.x[0][i]));
    double c = sqrt(1.0 - pow(beta2, t));
    reinterpret_cast<Numbers*>(numbers)[p.row[i]] =
        Numbers{AccumT(decoupled ? 0.0 : decay), AccumT(decoupled ? 1.0 - *lr * decay : 1.0),
                AccumT(1.0 - beta1), AccumT(beta2), AccumT(1.0 - beta2),
                AccumT(*lr * c / (1.0 - pow(beta1, t))), AccumT(c * eps)};
}

__device__ inline void step(const Numbers& s, T* w, const T* g, T* m, T* v) {
    AccumT w_ = load(w), g_ = load(g), m_ = load(m), v_ = load(v);
    if (s.lambda) g_ += s.lambda * w_;          // 0 w would be nan where w is infinite
    w_ *= s.rho;
    m_ += s.beta1_rest * (g_ - m_);
    v_ = s.beta2 * v_ + s.beta2_rest * (g_ * g_);
    store(w, w_ - s.r * (m_ / (sqrt_(v_) + s.e)));
    store(m, m_);
    store(v, v_);
}

extern "C" __global__ void update(Many<4> p, const AccumT* numbers) {
    int i = owner(p);
    Numbers s = reinterpret_cast<const Numbers*>(numbers)[p.row[i]];
    long long at = (blockIdx.x - p.begin[i]) * CHUNK_SIZE;
    T *w = p.x[0][i] + at, *m = p.x[2][i] + at, *v = p.x[3][i] + at;
    const T* g = p.x[1][i] + at;
    int n = int(min(p.size[i] - at, (long long)CHUNK_SIZE));
    int vecs = aligned(w, g, m, v) ? n / MAX_VEC : 0;
    for (int j = threadIdx.x; j < vecs; j += blockDim.x) {
        Vec x[4] = {reinterpret_cast<Vec*>(w)[j], reinterpret_cast<const Vec*>(g)[j],
                     reinterpret_cast<Vec*>(m)[j], reinterpret_cast<Vec*>(v)[j]};
        for (int k = 0; k < MAX_VEC; k++) step(s, &x[0].x[k], &x[1].x[k], &x[2].x[k], &x[3].x[k]);
        reinterpret_cast<Vec*>(w)[j] = x[0];
        reinterpret_cast<Vec*>(m)[j] = x[2];
        reinterpret_cast<Vec*>(v)[j] = x[3];
    }
    for (int j = vecs * MAX_VEC + threadIdx.x; j < n; j += blockDim.x)
        step(s, w + j, g + j, m + j, v + j);
}
