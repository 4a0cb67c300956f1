// A row of numbers in the registers of the threads that compute it: read once, summed as often as
// is needed.
//
// A warp computes a row, and blockDim.y warps as many rows of their own; or, if a row is long, a
// whole block does. rows.py decides, and gives as macros
//
//     THREADS_PER_ROW    blockDim.x
//     ITEMS_PER_THREAD   numbers of a row that a thread holds, a multiple of VEC
//     VEC                of them are neighbours, read at a time: MAX_VEC, or 1 where not all rows
//                        begin at multiples of 16 bytes

#pragma once
#include "common.cuh"

typedef Pack<T, VEC> Piece;

// As UNROLL_FOR, of common.cuh, in pieces.
#define UNROLL_FOR_PIECES(i) _Pragma("unroll") for (int i = 0; i != ITEMS_PER_THREAD; i += VEC)

// The column of a thread's number i; from N on there is none. With 32 threads and VEC = 4 thread 0
// has the columns 0 1 2 3, 128 129 130 131, ..., thread 1 has 4 5 6 7, 132 133 134 135, ...: a piece
// of one and that of the next are neighbours.
__device__ inline int column(int i) {
    return (i / VEC * THREADS_PER_ROW + threadIdx.x) * VEC + i % VEC;
}

// The numbers i ... i + VEC - 1 of a thread, of a row of N; 0 where there is none.
__device__ inline void read_piece(AccumT* a, const T* from, int i, int N) {
    Piece p = {};
    if (column(i) < N) p = *reinterpret_cast<const Piece*>(from + column(i));
    for (int j = 0; j != VEC; j++) a[j] = load(&p.x[j]);
}
// All of them: a[ITEMS_PER_THREAD].
__device__ inline void read_row(AccumT* a, const T* from, int N) {
    UNROLL_FOR_PIECES(i) read_piece(a + i, from, i, N);
}
__device__ inline void write_row(T* to, const AccumT* a, int N) {
    UNROLL_FOR_PIECES(i) if (column(i) < N) {
        Piece p;
        for (int j = 0; j != VEC; j++) store(&p.x[j], a[i + j]);
        *reinterpret_cast<Piece*>(to + column(i)) = p;
    }
}

// a ← a by the numbers of `factors`, and a ← a + `terms`. Piece by piece, because registers are full.
__device__ inline void scale_row(AccumT* a, const T* factors, int N) {
    UNROLL_FOR_PIECES(i) {
        AccumT f[VEC];
        read_piece(f, factors, i, N);
        for (int j = 0; j != VEC; j++) a[i + j] *= f[j];
    }
}
__device__ inline void add_row(AccumT* a, const T* terms, int N) {
    UNROLL_FOR_PIECES(i) {
        AccumT t[VEC];
        read_piece(t, terms, i, N);
        for (int j = 0; j != VEC; j++) a[i + j] += t[j];
    }
}

// a, as it can be read again from an array: rounded, in bfloat16.
__device__ inline void round_row(AccumT* a) {
    UNROLL_FOR(i, ITEMS_PER_THREAD) {
        T rounded;
        store(&rounded, a[i]);
        a[i] = load(&rounded);
    }
}

// Σ a², of the numbers of a thread.
__device__ inline AccumT squares(const AccumT* a) {
    AccumT sum = 0;
    UNROLL_FOR(i, ITEMS_PER_THREAD) sum += a[i] * a[i];
    return sum;
}

// Over the threads of a row. scratch: 32 numbers of shared memory, for all calls.
__device__ inline AccumT row_sum(AccumT x, AccumT* scratch) {
    return THREADS_PER_ROW == 32 ? warp_sum(x) : block_sum(x, scratch);
}
__device__ inline AccumT row_max(AccumT x, AccumT* scratch) {
    return THREADS_PER_ROW == 32 ? warp_max(x) : block_max(x, scratch);
}

// Whether a mean of squares has all its digits: none was above the range, or all far below it.
__device__ inline bool in_range(AccumT v) {
    return v > (sizeof(AccumT) == 8 ? AccumT(1e-280) : AccumT(1e-30)) && v < AccumT(INFINITY_F);
}
// Divides a row by its largest number, or by `least` if that is larger, and returns what it divided by.
__device__ inline AccumT into_range(AccumT* a, AccumT least, AccumT* scratch) {
    AccumT s = least;
    UNROLL_FOR(i, ITEMS_PER_THREAD) s = max_(max_(a[i], -a[i]), s);
    s = row_max(s, scratch);
    if (!(s > 0 && s < AccumT(INFINITY_F))) return 1;
    UNROLL_FOR(i, ITEMS_PER_THREAD) a[i] /= s;
    return s;
}
