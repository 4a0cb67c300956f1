// Elman's network (derived in manual/rnn.py). RELU, a macro: 1 or 0, and then f is tanh. What the
// way back needs is f'(a_t), in the place of a_t.

#include "common.cuh"

constexpr int GATES = 1;

__device__ inline T step(T* y, const T* e, T* s) {
    T a = y[0] + e[0];
#if RELU
    s[0] = a > 0 || a != a ? a : T(0);                  // nan stays
    y[0] = a > 0 ? T(1) : a < 0 ? T(0) : a == 0 ? T(0.5) : a;
#else
    s[0] = tanh_(a);
    y[0] = 1 - s[0] * s[0];
#endif
    return 0;
}

__device__ inline T step_back(const T* y, T, T, T* ds, T* da) {
    da[0] = y[0] * ds[0];
    ds[0] = 0;
    return da[0];
}

#include "recurrent.cuh"
