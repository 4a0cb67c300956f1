// Functions of single numbers: a thread computes WIDE neighbours, moved as one where that is possible.

#pragma once
#include "common.cuh"

// y_i = f(a_i, b_i) for i < n. blocks · threads · WIDE is n or more (elementwise.py).
template <class F>
__device__ inline void each(long long n, T* y, const T* a, const T* b, F f) {
    long long i = (blockIdx.x * (long long)blockDim.x + threadIdx.x) * WIDE;
    if (i + WIDE <= n && aligned(y, a, b)) {
        Wide p = *reinterpret_cast<const Wide*>(a + i), q = *reinterpret_cast<const Wide*>(b + i);
        for (int j = 0; j != WIDE; j++) store(&p.x[j], f(load(&p.x[j]), load(&q.x[j])));
        *reinterpret_cast<Wide*>(y + i) = p;
    } else {
        for (int j = 0; j != WIDE && i + j < n; j++)
            store(y + i + j, f(load(a + i + j), load(b + i + j)));
    }
}

// y_i = f(a_i).
template <class F> __device__ inline void each(long long n, T* y, const T* a, F f) {
    each(n, y, a, a, [=](A x, A) { return f(x); });     // the same load twice: the compiler does one
}
