// A row of numbers in the registers of the threads that compute it: read once, summed as often as
// is needed.
//
// A warp computes a row, and blockDim.y warps as many rows of their own; or, if a row is long, a
// whole block does. rows.py decides, and gives as macros
//
//     THREADS    of a row, blockDim.x
//     HELD       numbers of a row that a thread holds, a multiple of STEP
//     STEP       of them are neighbours, read at a time: WIDE, or 1 where not all rows begin at
//                multiples of 16 bytes

#pragma once
#include "common.cuh"

typedef Pack<T, STEP> Piece;

// As EACH, of common.cuh, in pieces.
#define EACH_PIECE(i) _Pragma("unroll") for (int i = 0; i != HELD; i += STEP)

// The column of a thread's number i; from N on there is none. With 32 threads and STEP = 4 thread 0
// has the columns 0 1 2 3, 128 129 130 131, ..., thread 1 has 4 5 6 7, 132 133 134 135, ...: a piece
// of one and that of the next are neighbours.
__device__ inline int column(int i) {
    return (i / STEP * THREADS + threadIdx.x) * STEP + i % STEP;
}

// The numbers i ... i + STEP - 1 of a thread, of a row of N; 0 where there is none.
__device__ inline void read_piece(A* a, const T* from, int i, int N) {
    Piece p = {};
    if (column(i) < N) p = *reinterpret_cast<const Piece*>(from + column(i));
    for (int j = 0; j != STEP; j++) a[j] = load(&p.x[j]);
}
// All of them: a[HELD].
__device__ inline void read_row(A* a, const T* from, int N) {
    EACH_PIECE(i) read_piece(a + i, from, i, N);
}
__device__ inline void write_row(T* to, const A* a, int N) {
    EACH_PIECE(i) if (column(i) < N) {
        Piece p;
        for (int j = 0; j != STEP; j++) store(&p.x[j], a[i + j]);
        *reinterpret_cast<Piece*>(to + column(i)) = p;
    }
}

// a ← a by the numbers of `factors`, and a ← a + `terms`. Piece by piece, because registers are full.
__device__ inline void scale_row(A* a, const T* factors, int N) {
    EACH_PIECE(i) {
        A f[STEP];
        read_piece(f, factors, i, N);
        for (int j = 0; j != STEP; j++) a[i + j] *= f[j];
    }
}
__device__ inline void add_row(A* a, const T* terms, int N) {
    EACH_PIECE(i) {
        A t[STEP];
        read_piece(t, terms, i, N);
        for (int j = 0; j != STEP; j++) a[i + j] += t[j];
    }
}

// a, as it can be read again from an array: rounded, in bfloat16.
__device__ inline void round_row(A* a) {
    EACH(i, HELD) {
        T rounded;
        store(&rounded, a[i]);
        a[i] = load(&rounded);
    }
}

// Over the threads of a row. scratch: 32 numbers of shared memory, for all calls.
__device__ inline A row_sum(A x, A* scratch) {
    return THREADS == 32 ? warp_sum(x) : block_sum(x, scratch);
}
__device__ inline A row_max(A x, A* scratch) {
    return THREADS == 32 ? warp_max(x) : block_max(x, scratch);
}
