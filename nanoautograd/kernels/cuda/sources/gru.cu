// The gated recurrent unit (derived in manual/gru.py). What the way back needs is r, z and n in the
// place of a, and e_n.

#include "common.cuh"

constexpr int GATES = 3;

__device__ inline T step(T* y, const T* e, T* s) {
    y[0] = sigmoid_(y[0] + e[0]);
    y[1] = sigmoid_(y[1] + e[1]);
    y[2] = tanh_(y[2] + y[0] * e[2]);
    s[0] = y[2] + y[1] * (s[0] - y[2]);                 // n + z (h - n)
    return e[2];
}

__device__ inline T step_back(const T* y, T e_n, T h_prev, T* ds, T* da) {
    T r = y[0], z = y[1], n = y[2], dh = ds[0];
    da[2] = dh * (1 - z) * (1 - n * n);
    da[0] = da[2] * e_n * r * (1 - r);
    da[1] = dh * (h_prev - n) * z * (1 - z);
    ds[0] = z * dh;
    return da[2] * r;                                   // de_n
}

#include "recurrent.cuh"
