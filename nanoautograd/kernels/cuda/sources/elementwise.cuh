// Functions of single numbers: a thread computes WIDE neighbours, moved as one where that is possible.

#pragma once
#include "common.cuh"

// WIDE neighbours, of which the first n are there; whole: all are, at a multiple of 16 bytes, so that
// one instruction moves them.
__device__ inline Wide read(const T* from, long long n, bool whole) {
    if (whole) return *reinterpret_cast<const Wide*>(from);
    Wide p = {};
    for (int j = 0; j != WIDE && j < n; j++) p.x[j] = from[j];
    return p;
}
__device__ inline void write(T* to, const Wide& p, long long n, bool whole) {
    if (whole) *reinterpret_cast<Wide*>(to) = p;
    else for (int j = 0; j != WIDE && j < n; j++) to[j] = p.x[j];
}

// y_i = f(a_i, b_i) for i < n. blocks · threads · WIDE is n or more (elementwise.py).
template <class F>
__device__ inline void each(long long n, T* y, const T* a, const T* b, F f) {
    long long i = (blockIdx.x * (long long)blockDim.x + threadIdx.x) * WIDE, left = n - i;
    if (left <= 0) return;
    bool whole = left >= WIDE && aligned(y, a, b);
    Wide p = read(a + i, left, whole), q = read(b + i, left, whole);
    for (int j = 0; j != WIDE; j++) store(&p.x[j], f(load(&p.x[j]), load(&q.x[j])));
    write(y + i, p, left, whole);
}

// y_i = f(a_i).
template <class F> __device__ inline void each(long long n, T* y, const T* a, F f) {
    // The same load twice: the compiler does one.
    each(n, y, a, a, [=](AccumT x, AccumT) { return f(x); });
}
