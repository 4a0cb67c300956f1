// A recurrent layer in one direction, all steps in one launch: what lstm.cu, gru.cu and rnn.cu have
// in common. Each of them describes its cell (derived in manual/NAME.py, whose letters these are)
// and then includes this file, which has the kernels. A cell has G = GATES gates, and a state h or two, h
// and c:
//
//     T step(T* y, const T* e, T* s)
//         y: a_t = W x_t + b_ih of the gates; e: U h_{t-1} + b_hh; s: the states before.
//         Makes of y what the way back needs, and of s the states after; returns one more number
//         that the way back needs.
//     T step_back(const T* y, T more, T h_prev, T* ds, T* da)
//         more: that number; h_prev: h_{t-1}; ds: the gradients of the states after. Makes of ds
//         those of the states before, without the part that goes through e; fills da, and returns
//         de of the last gate (de of the others is da).
//
//     U         (G H, H)         read once; then each block has those of its units in shared memory
//     y         (G H, steps, B)  comes as W x, leaves as the gates
//     more      (H, steps, B)    what `step` returns
//     h_prev    (H, steps, B)    h_{t-1}
//     out       (steps, B, H)    in memory out_t numbers from t to t, out_b from b to b
//     valid     (steps, B)       0 where sequence b has ended before t: then its states stay as they
//                                are, and out is 0; null if all sequences have all steps
//
// Who does what (after Diamos et al. 2016, "Persistent RNNs: stashing recurrent weights on-chip").
// The B sequences are cut into groups of SEQS = SEQUENCES_PER_GROUP. A group is computed by a set of
// `blocks` blocks, of which each owns `units` units: it has their states for the SEQS sequences in
// registers, PAIRS pairs (unit, sequence) a thread, and their G · units rows of U in shared memory.
// There are as many sets as the GPU has room for; a set does one group after another. All blocks run
// at the same time (a cooperative launch), but only those of a set wait for one another, once a step.
//
// Forward, a block needs h_{t-1} of all units for its SEQS sequences: all blocks write theirs to
// `exchange` (2, sets, H, SEQS), wait, and copy the group's H · SEQS numbers from there. Two places
// are used in turn: who writes to one again has passed a barrier after which nobody reads it any more.
//
// Back, dh_{t-1} = Uᵀ de_t is a sum over all rows of U, and de_t has G times as many numbers as h.
// So a block does not collect de_t, but multiplies de_t of its own rows by these rows: that is a
// part of dh_{t-1} for all units. It writes the part to `exchange` (2, sets, blocks, M, SEQS), where
// M is H rounded up to whole pieces of the product, waits, and adds up what all blocks have written
// there for its own units, in the order of the blocks. The weights that it needs are the same as
// forward.
//
// What crosses the barrier is written by ordinary stores and read past the first cache (cp.async,
// __ldcg), which does not learn what other multiprocessors write. Arrays that do not cross it are
// read before the product and written after the barrier: so nobody waits for them there.

#pragma once
#include "common.cuh"

constexpr int SEQS = SEQUENCES_PER_GROUP, PAIRS = PAIRS_PER_THREAD;

// The product of a block, of w (K, M) and x (K, SEQS) in shared memory:
//
//     to[i][m][s] = Σ_k w[k][m] x[k][s]      i < splits; over k = i, i + splits, ... (or 8 k each)
//
// M is a multiple of TILE_ROWS and K of TILE_DEPTH; rows of w are M + W_PADDING numbers apart, rows
// of x X_STRIDE numbers, so that the 32 threads of a warp read from different banks.
#if TF32
#include "recurrent_tf32.cuh"
#else
#include "recurrent_float.cuh"
#endif

#ifdef LAUNCHER_EXPECTS         // what recurrent.py has reckoned with
constexpr int expected[] = {LAUNCHER_EXPECTS};
static_assert(expected[0] == TILE_ROWS && expected[1] == TILE_DEPTH && expected[2] == W_PADDING &&
              expected[3] == X_STRIDE, "recurrent.py, Layout");
#endif

__device__ inline int up(int n, int to) { return (n + to - 1) / to * to; }

// A unit and a sequence: their numbers in the block, own and s, and in all, j and b.
struct Pair {
    int own, s, j, b;
    bool is;                    // there is such a pair
};

// A block: its number in the set, the set, how many sets there are, and the first of its units.
struct Block {
    int H, B, units, member, set, sets, first;

    __device__ Block(int H, int B, int units, int blocks)
        : H(H), B(B), units(units), member(blockIdx.x % blocks), set(blockIdx.x / blocks),
          sets(gridDim.x / blocks), first(member * units) {}

    // The q-th of this thread.
    __device__ Pair pair(int q, int group) const {
        int i = threadIdx.x + q * blockDim.x, own = i / SEQS, s = i % SEQS, j = first + own;
        int b = group * SEQS + s;
        return Pair{own, s, j, b, own < units && j < H && b < B};
    }

    // U_mk where m counts the block's rows, gate by gate; 0 where there is no such row or column.
    __device__ T weight(const T* U, int m, int k) const {
        int gate = m / units, j = first + m % units;
        return gate < GATES && j < H && k < H ? rounded(U[(gate * H + j) * (long long)H + k]) : T(0);
    }
};

extern "C" __global__ void __launch_bounds__(256, 1) forward(
    T* y, const T* U, const T* b_ih, const T* b_hh, const T* h0, const T* c0,
    const unsigned char* valid, T* h_prev, T* more, T* out, T* h_n, T* c_n, T* exchange,
    u32* arrived, int H, int B, int steps, int units, int blocks, int splits, int reverse,
    long long out_t, long long out_b) {
    Block my(H, B, units, blocks);
    int M = up(GATES * units, TILE_ROWS), K = up(H, TILE_DEPTH), row = M + W_PADDING;
    SHARED(T, w);                                                   // (K, row)
    T *x = w + K * row, *sums = x + K * X_STRIDE;                   // (K, X_STRIDE), (splits, M, SEQS)
    for (int i = threadIdx.x; i < K * row; i += blockDim.x)
        w[i] = my.weight(U, i % row, i / row);
    for (int i = H * X_STRIDE + threadIdx.x; i < K * X_STRIDE; i += blockDim.x) x[i] = 0;

    long long all = (long long)steps * B;
    u32 round = 0;                                                  // barriers passed
    for (int group = my.set; group * SEQS < B; group += my.sets) {
        T s[PAIRS][2], b[PAIRS][GATES], a[PAIRS][GATES];
        T gates[PAIRS][GATES], h[PAIRS], more_t[PAIRS], h_t[PAIRS];  // of a step, to be stored
        bool is_step[PAIRS];
        UNROLL_FOR(q, PAIRS) {
            Pair p = my.pair(q, group);
            s[q][0] = p.is && h0 ? h0[(long long)p.b * H + p.j] : T(0);
            s[q][1] = p.is && c0 ? c0[(long long)p.b * H + p.j] : T(0);
            UNROLL_FOR(g, GATES) b[q][g] = p.is && b_hh ? b_hh[g * H + p.j] : T(0);
        }
        for (int i = 0; i <= steps; i++) {
            if (i < steps) {                                        // what step i needs
                int t = reverse ? steps - 1 - i : i;
                T* h_all = exchange + (round % 2 * my.sets + my.set) * (long long)H * SEQS;
                UNROLL_FOR(q, PAIRS) {
                    Pair p = my.pair(q, group);
                    if (p.is) h_all[p.j * SEQS + p.s] = rounded(s[q][0]);
                }
                round++;
                grid_barrier(arrived + 32 * my.set, blocks, round);
                for (int k = threadIdx.x; k < H * SEQS / MAX_VEC; k += blockDim.x)
                    cp_async(x + k * MAX_VEC / SEQS * X_STRIDE + k * MAX_VEC % SEQS,
                             h_all + k * MAX_VEC);
                cp_async_commit();
                UNROLL_FOR(q, PAIRS) {
                    Pair p = my.pair(q, group);
                    if (!p.is) continue;
                    long long at = p.j * all + (long long)t * B + p.b;
                    UNROLL_FOR(g, GATES)
                        a[q][g] = y[at + g * H * all] + (b_ih ? b_ih[g * H + p.j] : T(0));
                    is_step[q] = !valid || valid[(long long)t * B + p.b];
                }
            }
            if (i > 0) {                                            // what step i - 1 has given
                int t = reverse ? steps - i : i - 1;
                UNROLL_FOR(q, PAIRS) {
                    Pair p = my.pair(q, group);
                    if (!p.is) continue;
                    long long at = p.j * all + (long long)t * B + p.b;
                    UNROLL_FOR(g, GATES) y[at + g * H * all] = gates[q][g];
                    h_prev[at] = h[q];
                    if (more) more[at] = more_t[q];
                    out[t * out_t + p.b * out_b + p.j] = h_t[q];
                }
            }
            if (i == steps) break;
            cp_async_wait<0>();
            __syncthreads();
            product(w, x, sums, M, K, splits);
            __syncthreads();
            UNROLL_FOR(q, PAIRS) {
                Pair p = my.pair(q, group);
                if (!p.is) continue;
                T e[GATES], after[2] = {s[q][0], s[q][1]};
                UNROLL_FOR(g, GATES) e[g] = b[q][g];
#pragma unroll 8
                for (int l = 0; l < splits; l++)
                    UNROLL_FOR(g, GATES) e[g] += sums[(l * M + g * units + p.own) * SEQS + p.s];
                h[q] = s[q][0];
                UNROLL_FOR(g, GATES) gates[q][g] = a[q][g];
                more_t[q] = step(gates[q], e, after);
                UNROLL_FOR(l, 2) s[q][l] = is_step[q] ? after[l] : s[q][l];
                h_t[q] = is_step[q] ? after[0] : T(0);              // the output
            }
        }
        UNROLL_FOR(q, PAIRS) {
            Pair p = my.pair(q, group);
            if (!p.is) continue;
            h_n[(long long)p.b * H + p.j] = s[q][0];
            if (c_n) c_n[(long long)p.b * H + p.j] = s[q][1];
        }
    }
}

extern "C" __global__ void __launch_bounds__(256, 1) backward(
    const T* y, const T* U, const T* h_prev, const T* more, const unsigned char* valid,
    const T* dout, const T* dh_n, const T* dc_n, T* da, T* de_last, T* dh0, T* dc0, T* exchange,
    u32* arrived, int H, int B, int steps, int units, int blocks, int splits, int reverse,
    long long out_t, long long out_b) {
    Block my(H, B, units, blocks);
    int R = GATES * units, M = up(H, TILE_ROWS), K = up(R, TILE_DEPTH), row = M + W_PADDING;
    SHARED(T, w);                                                   // (K, row)
    T *x = w + K * row, *sums = x + K * X_STRIDE;                   // (K, X_STRIDE), (splits, M, SEQS)
    for (int i = threadIdx.x; i < K * row; i += blockDim.x)
        w[i] = my.weight(U, i / row, i % row);
    for (int i = R * X_STRIDE + threadIdx.x; i < K * X_STRIDE; i += blockDim.x) x[i] = 0;

    long long all = (long long)steps * B, part = (long long)M * SEQS;
    u32 round = 0;                                                  // barriers passed
    for (int group = my.set; group * SEQS < B; group += my.sets) {
        T ds[PAIRS][2], gates[PAIRS][GATES], h[PAIRS], more_t[PAIRS], dh[PAIRS];
        T d[PAIRS][GATES], last[PAIRS];       // of a step, to be stored
        bool is_step[PAIRS];
        UNROLL_FOR(q, PAIRS) {
            Pair p = my.pair(q, group);
            ds[q][0] = p.is ? dh_n[(long long)p.b * H + p.j] : T(0);
            ds[q][1] = p.is && dc_n ? dc_n[(long long)p.b * H + p.j] : T(0);
        }
        for (int i = steps; i >= 0; i--) {
            if (i < steps) {                                        // step i
                UNROLL_FOR(q, PAIRS) {
                    Pair p = my.pair(q, group);
                    UNROLL_FOR(g, GATES) d[q][g] = 0;
                    last[q] = 0;
                    if (p.is && is_step[q]) {
                        ds[q][0] += dh[q];
                        last[q] = step_back(gates[q], more_t[q], h[q], ds[q], d[q]);
                    }
                    UNROLL_FOR(g, GATES) {                          // 0 for units beyond H
                        T* x_m = x + (g * units + p.own) * X_STRIDE + p.s;
                        if (p.own < units) *x_m = rounded(g == GATES - 1 ? last[q] : d[q][g]);
                    }
                }
                __syncthreads();
            }
            if (i > 0) {                                            // what step i - 1 needs
                int t = reverse ? steps - i : i - 1;
                UNROLL_FOR(q, PAIRS) {
                    Pair p = my.pair(q, group);
                    if (!p.is) continue;
                    long long at = p.j * all + (long long)t * B + p.b;
                    UNROLL_FOR(g, GATES) gates[q][g] = y[at + g * H * all];
                    more_t[q] = more ? more[at] : T(0);
                    h[q] = h_prev ? h_prev[at] : T(0);
                    dh[q] = dout[t * out_t + p.b * out_b + p.j];
                    is_step[q] = !valid || valid[(long long)t * B + p.b];
                }
            }
            if (i == steps) continue;
            T* parts = exchange + (round % 2 * my.sets + my.set) * blocks * part;
            T* mine = parts + my.member * part;
            product(w, x, splits > 1 ? sums : mine, M, K, splits);
            if (splits > 1) {
                __syncthreads();
                for (int k = threadIdx.x; k < part; k += blockDim.x) {
                    T sum = 0;
                    for (int l = 0; l < splits; l++) sum += sums[l * part + k];
                    mine[k] = sum;
                }
            }
            round++;
            grid_barrier(arrived + 32 * my.set, blocks, round);
            int t = reverse ? steps - 1 - i : i;
            UNROLL_FOR(q, PAIRS) {
                Pair p = my.pair(q, group);
                if (!p.is) continue;
                const T* own = parts + p.j * SEQS + p.s;
                for (int n = 0; 32 * n < blocks; n++) {             // 32 reads under way at a time
                    T read[32];
                    UNROLL_FOR(l, 32)
                        read[l] = 32 * n + l < blocks ? __ldcg(own + (32 * n + l) * part) : T(0);
                    UNROLL_FOR(l, 32) ds[q][0] += read[l];
                }
                long long at = p.j * all + (long long)t * B + p.b;
                UNROLL_FOR(g, GATES) da[at + g * H * all] = d[q][g];
                if (de_last) de_last[at] = last[q];
            }
        }
        UNROLL_FOR(q, PAIRS) {
            Pair p = my.pair(q, group);
            if (!p.is) continue;
            if (dh0) dh0[(long long)p.b * H + p.j] = ds[q][0];
            if (dc0) dc0[(long long)p.b * H + p.j] = ds[q][1];
        }
    }
}
