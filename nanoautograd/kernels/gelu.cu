// Gaussian error linear unit (derived in manual/gelu.py, where the letters are).
//
//     y  = max(x, -40) Φ(z)               z: x limited to ±40
//     dx = dy (Φ(z) + z φ(z))                                     tanh = 0
//     dx = dy (Φ(z) + z · 2 u'(z) Φ(z) (1 - Φ(z)))                tanh = 1
//
// Each number is read and written once, and only x is kept for the way back.

#include "elementwise.cuh"

const A C = A(0.79788456080286535588), C_A = C * A(0.044715);       // √(2/π)
const A ROOT_HALF = A(0.70710678118654752440), ROOT_2_PI = A(0.39894228040143267794);

__device__ inline A limited(A x) { return x < -40 ? A(-40) : x > 40 ? A(40) : x; }  // nan stays

__device__ inline A Phi(A z, int tanh) {
    return (1 + (tanh ? tanh_(z * (C + C_A * z * z)) : erf_(z * ROOT_HALF))) / 2;
}

extern "C" __global__ void forward(const T* x, T* y, long long n, int tanh) {
    each(n, y, x, [=](A x) { return (x < -40 ? A(-40) : x) * Phi(limited(x), tanh); });
}

extern "C" __global__ void backward(const T* x, const T* dy, T* dx, long long n, int tanh) {
    each(n, dx, x, dy, [=](A x, A dy) {
        A z = limited(x), P = Phi(z, tanh);
        A slope = tanh ? (2 * C + 6 * C_A * z * z) * P * (1 - P) : ROOT_2_PI * exp_(-z * z / 2);
        return dy * (P + z * slope);
    });
}
