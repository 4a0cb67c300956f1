// Functions of single numbers: a thread computes MAX_VEC neighbours, moved as one where that is
// possible.

#pragma once
#include "common.cuh"

// MAX_VEC neighbours, of which the first n are there; whole: all are, at a multiple of 16 bytes, so
// that one instruction moves them.
__device__ inline Vec read(const T* from, long long n, bool whole) {
    if (whole) return *reinterpret_cast<const Vec*>(from);
    Vec p = {};
    for (int j = 0; j != MAX_VEC && j < n; j++) p.x[j] = from[j];
    return p;
}
__device__ inline void write(T* to, const Vec& p, long long n, bool whole) {
    if (whole) *reinterpret_cast<Vec*>(to) = p;
    else for (int j = 0; j != MAX_VEC && j < n; j++) to[j] = p.x[j];
}

// y_i = f(a_i, b_i) for i < n. blocks · threads · MAX_VEC is n or more (elementwise.py).
template <class F>
__device__ inline void each(long long n, T* y, const T* a, const T* b, F f) {
    long long i = (blockIdx.x * (long long)blockDim.x + threadIdx.x) * MAX_VEC, left = n - i;
    if (left <= 0) return;
    bool whole = left >= MAX_VEC && aligned(y, a, b);
    Vec p = read(a + i, left, whole), q = read(b + i, left, whole);
    for (int j = 0; j != MAX_VEC; j++) store(&p.x[j], f(load(&p.x[j]), load(&q.x[j])));
    write(y + i, p, left, whole);
}

// y_i = f(a_i).
template <class F> __device__ inline void each(long long n, T* y, const T* a, F f) {
    // The same load twice: the compiler does one.
    each(n, y, a, a, [=](AccumT x, AccumT) { return f(x); });
}
