// Long short-term memory (derived in manual/lstm.py). What the way back needs is the gates i, f, g,
// o in the place of a, and c_{t-1}; c_t is computed from these once more.

#include "common.cuh"

constexpr int GATES = 4;

__device__ inline T step(T* y, const T* e, T* s) {
    T c_prev = s[1];
    y[0] = sigmoid_(y[0] + e[0]);
    y[1] = sigmoid_(y[1] + e[1]);
    y[2] = tanh_(y[2] + e[2]);
    y[3] = sigmoid_(y[3] + e[3]);
    s[1] = y[1] * c_prev + y[0] * y[2];                 // c_t = f c_{t-1} + i g
    s[0] = y[3] * tanh_(s[1]);                          // h_t = o tanh(c_t)
    return c_prev;
}

__device__ inline T step_back(const T* y, T c_prev, T, T* ds, T* da) {
    T i = y[0], f = y[1], g = y[2], o = y[3], dh = ds[0], tanh_c = tanh_(f * c_prev + i * g);
    T dc = ds[1] + dh * o * (1 - tanh_c * tanh_c);
    da[0] = dc * g * i * (1 - i);
    da[1] = dc * c_prev * f * (1 - f);
    da[2] = dc * i * (1 - g * g);
    da[3] = dh * tanh_c * o * (1 - o);
    ds[0] = 0;
    ds[1] = dc * f;
    return da[3];
}

#include "recurrent.cuh"
