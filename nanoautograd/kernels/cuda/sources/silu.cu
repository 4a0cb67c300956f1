// Sigmoid linear unit (derived in manual/silu.py, where the letters are).
//
//     y = x s          dx = dy s (1 + x (1 - s))
//
// Each number is read and written once, and only x is kept for the way back. Where s is 0 or 1 to
// the last digit x may be infinite; it is limited to ±800 there.

#include "elementwise.cuh"

extern "C" __global__ void forward(const T* x, T* y, long long n) {
    each(n, y, x, [](AccumT x) { return (x < -800 ? AccumT(-800) : x) * sigmoid_(x); });
}

extern "C" __global__ void backward(const T* x, const T* dy, T* dx, long long n) {
    each(n, dx, x, dy, [](AccumT x, AccumT dy) {
        AccumT s = sigmoid_(x), z = x < -800 ? AccumT(-800) : x > 800 ? AccumT(800) : x;
        return dy * s * (1 + z * (1 - s));
    });
}
