// Gaussian error linear unit (derived in manual/gelu.py, where the letters are).
//
//     y  = max(v, -40) Φ(z)               v = x + b, and z: v limited to ±40
//     dx = dy (Φ(z) + z φ(z))                                     tanh = 0
//     dx = dy (Φ(z) + z · 2 u'(z) Φ(z) (1 - Φ(z)))                tanh = 1
//     db_n = Σ_m dx_mn
//
// Each number is read and written once, and only x is kept for the way back. With a bias, a thread has
// WIDE columns, of which it reads the bias once, and goes through every gridDim.y-th row; what it has
// added up to db it leaves in `partial`, which `columns` adds up: no atomics, so the order is always
// the same.

#include "elementwise.cuh"
#include "partials.cuh"

const A C = A(0.79788456080286535588), C_A = C * A(0.044715);       // √(2/π)
const A ROOT_HALF = A(0.70710678118654752440), ROOT_2_PI = A(0.39894228040143267794);

__device__ inline A limited(A v) { return v < -40 ? A(-40) : v > 40 ? A(40) : v; }  // nan stays

__device__ inline A Phi(A z, int tanh) {
    return (1 + (tanh ? tanh_(z * (C + C_A * z * z)) : erf_(z * ROOT_HALF))) / 2;
}
__device__ inline A gelu(A v, int tanh) { return (v < -40 ? A(-40) : v) * Phi(limited(v), tanh); }

__device__ inline A derivative(A v, int tanh) {
    A z = limited(v), P = Phi(z, tanh);
    return P + z * (tanh ? (2 * C + 6 * C_A * z * z) * P * (1 - P) : ROOT_2_PI * exp_(-z * z / 2));
}

extern "C" __global__ void forward(const T* x, T* y, long long n, int tanh) {
    each(n, y, x, [=](A x) { return gelu(x, tanh); });
}

extern "C" __global__ void backward(const T* x, const T* dy, T* dx, long long n, int tanh) {
    each(n, dx, x, dy, [=](A x, A dy) { return dy * derivative(x, tanh); });
}

// The first of a thread's columns.
__device__ inline int first_column() { return (blockIdx.x * blockDim.x + threadIdx.x) * WIDE; }

extern "C" __global__ void forward_with_bias(const T* x, const T* b, T* y, int M, int N, int tanh) {
    int n = first_column();
    bool as_one = N % WIDE == 0 && aligned(x, b, y);
    Wide q = {};
    if (n < N) q = read(b + n, N - n, as_one);
    for (int m = blockIdx.y; n < N && m < M; m += gridDim.y) {
        Wide p = read(x + (long long)m * N + n, N - n, as_one);
        for (int j = 0; j != WIDE; j++)
            store(&p.x[j], gelu(load(&p.x[j]) + load(&q.x[j]), tanh));
        write(y + (long long)m * N + n, p, N - n, as_one);
    }
}

// partial (gridDim.y, N): what the rows of a block add to db. It may be null.
extern "C" __global__ void backward_with_bias(const T* x, const T* b, const T* dy, T* dx, A* partial,
                                              int M, int N, int tanh) {
    int n = first_column();
    bool as_one = N % WIDE == 0 && aligned(x, b, dy, dx);
    Wide q = {};
    A db[WIDE] = {};
    if (n < N) q = read(b + n, N - n, as_one);
    for (int m = blockIdx.y; n < N && m < M; m += gridDim.y) {
        Wide p = read(x + (long long)m * N + n, N - n, as_one);
        Wide g = read(dy + (long long)m * N + n, N - n, as_one);
        for (int j = 0; j != WIDE; j++) {
            A d = load(&g.x[j]) * derivative(load(&p.x[j]) + load(&q.x[j]), tanh);
            db[j] += d;
            store(&g.x[j], d);
        }
        write(dx + (long long)m * N + n, g, N - n, as_one);
    }
    if (!partial) return;
    for (int j = 0; j != WIDE && n + j < N; j++) partial[blockIdx.y * (long long)N + n + j] = db[j];
}

// partial of `backward_with_bias` by P rows of blocks -> db.
extern "C" __global__ void columns(const A* partial, T* db, int P, int N) {
    SHARED(A, scratch);                                 // 32 · 33
    add_partials(partial, db, P, N, scratch);
}
