// What attention.cu and attention_mma.cu share: their kernels, which find the rows of a head that a
// block works on, and leave the work to forward_rows and backward_rows. Notation in attention.cu.
//
// From the file: THREADS_PER_BLOCK; ROWS_FORWARD and ROWS_BACKWARD, that a block owns there and
// back; FORWARD_PER_SM and BACKWARD_PER_SM, the blocks for which a multiprocessor should have
// registers. Macros: MAX_HEAD_DIM, the room for the features of a head, of which d are there, a
// multiple of 8; DROPOUT, 1 if weights are dropped. Then r_ns = [w ≥ least] scale, w being word number
// offset + (head N + n) S + s of the seed; `there` as in dropout.cu.

#pragma once
#include "common.cuh"
#include "philox.cuh"

#define LOG2E 1.4426950408889634

__device__ inline int tiles(int n, int of) { return (n + of - 1) / of; }

// n rows of a head, `step` numbers from one to the next; written to if the array is.
struct Rows {
    T* x;
    long long step;
    int n;
    __device__ T* at(int row) const { return x + row * step; }
};

// What a block does: it owns rows from `first` on. lse, D: of its head; word: the number of its first.
struct Task {
    int first, d, causal;
    AccumT c, scale;
    AccumT *lse, *D;
    u64 seed, word, least;
};

// Are the weights of the query n and the keys s and s + 1 of S kept? Bits 0 and 1.
__device__ inline u32 keeps(const Task& task, int S, int n, int s) {
    u64 i = task.word + u64(n) * S + s;
    Words words = philox(i / 4, task.seed);
    auto keeps = [&](u64 i) {                   // without an index: words are registers
        u32 even = i & 2 ? words.w[2] : words.w[0], odd = i & 2 ? words.w[3] : words.w[1];
        return u32((i & 1 ? odd : even) >= task.least);
    };
    u32 first = keeps(i);
    if (i % 4 == 3) words = philox(i / 4 + 1, task.seed);
    return first | keeps(i + 1) << 1;
}

__device__ inline void forward_rows(Task task, Rows q, Rows k, Rows v, Rows o);

// Own rows x1, x2, the others y1, y2; dx2 for keys only.
template <bool KEYS> __device__ inline void backward_rows(
    Task task, Rows x1, Rows x2, Rows y1, Rows y2, Rows dx1, Rows dx2);

// A block's head, (b, h), and its tile: blockIdx.x = (b H + h) · n + tile.
struct Place {
    int b, h, tile;
    long long head;
};
__device__ inline Place place(int n, int H) {
    int head = blockIdx.x / n;
    return Place{head / H, head % H, int(blockIdx.x % n), head};
}

// The head of an array (B, H, n, d) with these steps.
__device__ inline Rows rows_of(const T* x, Place at, long long b, long long h, long long step,
                               int n) {
    return Rows{const_cast<T*>(x) + at.b * b + at.h * h, step, n};
}

// From one head to the next in lse and D: every head begins at a multiple of 16 bytes.
__device__ inline long long padded(int N) { return tiles(N, 32) * 32; }

extern "C" __global__ void __launch_bounds__(THREADS_PER_BLOCK, FORWARD_PER_SM) forward(
        const T* q, const T* k, const T* v, T* o, AccumT* lse, int H, int N, int S, int d, AccumT c,
        int causal, u64 seed, u64 offset, const u64* there, u64 least, AccumT scale,
        long long q_b, long long q_h, long long q_n, long long k_b, long long k_h, long long k_s,
        long long v_b, long long v_h, long long v_s, long long o_b, long long o_h, long long o_n) {
    int n = tiles(N, ROWS_FORWARD);
    Place at = place(n, H);
    if (causal) at.tile = n - 1 - at.tile;      // what takes longest begins first
    long long l = at.head * padded(N);
    u64 word = offset + (there ? *there : 0) + at.head * N * S;
    Task task = {at.tile * ROWS_FORWARD, d, causal, c, scale, lse + l, nullptr, seed, word, least};
    forward_rows(task, rows_of(q, at, q_b, q_h, q_n, N), rows_of(k, at, k_b, k_h, k_s, S),
                 rows_of(v, at, v_b, v_h, v_s, S), rows_of(o, at, o_b, o_h, o_n, N));
}

extern "C" __global__ void __launch_bounds__(THREADS_PER_BLOCK, BACKWARD_PER_SM) backward_keys(
        const T* q, const T* k, const T* v, const T* d_o, AccumT* lse, AccumT* D, T* dk, T* dv,
        int H, int N, int S, int d, AccumT c,
        int causal, u64 seed, u64 offset, const u64* there, u64 least, AccumT scale,
        long long q_b, long long q_h, long long q_n, long long k_b, long long k_h, long long k_s,
        long long v_b, long long v_h, long long v_s, long long o_b, long long o_h, long long o_n,
        long long dk_b, long long dk_h, long long dk_s) {
    Place at = place(tiles(S, ROWS_BACKWARD), H);
    long long l = at.head * padded(N);
    u64 word = offset + (there ? *there : 0) + at.head * N * S;
    Task task = {at.tile * ROWS_BACKWARD, d, causal, c, scale, lse + l, D + l, seed, word, least};
    backward_rows<true>(task, rows_of(k, at, k_b, k_h, k_s, S), rows_of(v, at, v_b, v_h, v_s, S),
                        rows_of(q, at, q_b, q_h, q_n, N), rows_of(d_o, at, o_b, o_h, o_n, N),
                        rows_of(dk, at, dk_b, dk_h, dk_s, S), rows_of(dv, at, dk_b, dk_h, dk_s, S));
}

extern "C" __global__ void __launch_bounds__(THREADS_PER_BLOCK, BACKWARD_PER_SM) backward_queries(
        const T* q, const T* k, const T* v, const T* d_o, AccumT* lse, AccumT* D, T* dq,
        int H, int N, int S, int d, AccumT c,
        int causal, u64 seed, u64 offset, const u64* there, u64 least, AccumT scale,
        long long q_b, long long q_h, long long q_n, long long k_b, long long k_h, long long k_s,
        long long v_b, long long v_h, long long v_s, long long o_b, long long o_h, long long o_n) {
    int n = tiles(N, ROWS_BACKWARD);
    Place at = place(n, H);
    if (causal) at.tile = n - 1 - at.tile;
    long long l = at.head * padded(N);
    u64 word = offset + (there ? *there : 0) + at.head * N * S;
    Task task = {at.tile * ROWS_BACKWARD, d, causal, c, scale, lse + l, D + l, seed, word, least};
    Rows dQ = rows_of(dq, at, o_b, o_h, o_n, N);
    backward_rows<false>(task, rows_of(q, at, q_b, q_h, q_n, N), rows_of(d_o, at, o_b, o_h, o_n, N),
                         rows_of(k, at, k_b, k_h, k_s, S), rows_of(v, at, v_b, v_h, v_s, S), dQ, dQ);
}

// D_n = Σ_i do_ni o_ni, a warp a row; blocks of 8 warps. o and do have the same steps.
extern "C" __global__ void rows_dots(const T* o, const T* d_o, AccumT* D, int H, int N, int d,
                                     long long rows, long long o_b, long long o_h, long long o_n) {
    long long row = blockIdx.x * 8LL + threadIdx.x / 32;        // head · N + n
    if (row >= rows) return;
    long long head = row / N, n = row % N, from = head / H * o_b + head % H * o_h + n * o_n;
    AccumT sum = 0;
    for (int i = threadIdx.x % 32 * MAX_VEC; i < d; i += 32 * MAX_VEC) {
        Vec x = *reinterpret_cast<const Vec*>(o + from + i);
        Vec y = *reinterpret_cast<const Vec*>(d_o + from + i);
        UNROLL_FOR(l, MAX_VEC) sum += load(&x.x[l]) * load(&y.x[l]);
    }
    sum = warp_sum(sum);
    if (threadIdx.x % 32 == 0) D[head * padded(N) + n] = sum;
}
