// Attention by the tensor cores, for bf16, and for float in the precision of TF32: what attention.cu
// computes, with its notation, in another way.
//
// A block has 4 warps, and a warp owns M tiles of 16 rows; of tile m a thread holds rows g and g + 8
// (notation in common.cuh). All that it makes out of them stays in its registers: the products of
// its rows x with C other rows y,
//
//     w = x yᵀ          16 M x C accumulators (FlashAttention-2, section 3.3: warps share no rows)
//
// and, as left operand of the next product, w y, what becomes of w: P or dA. In bf16 the accumulators
// of two products side by side are the operand as it must be, packed in pairs. In TF32 they are not.
// Of 8 columns of w a thread holds 2t and 2t + 1, where the instruction expects t and t + 4. But
// column k of w multiplies row k of y, and in which order k is counted does not change the sum. So
// the thread gives its column 2t as column t, and 2t + 1 as t + 4; and of y it gives row 2t as row t,
// and row 2t + 1 as t + 4.
//
// Which weights dropout keeps is drawn first, a bit for each accumulator; o and dv are multiplied by
// `scale`, 1/(1 - p), in the end.
//
// On the way back the rows owned are keys or queries, as in attention.cu; for keys, w is transposed,
// and lse and D belong to its columns.
//
// In shared memory a row has 4 words more than numbers: then words t of 8 rows g, which a warp reads
// at once, lie in 32 banks. The y of the next step are on their way while one computes (cp_async).

#include "common.cuh"

constexpr int THREADS_PER_BLOCK = 128;
constexpr int M_FORWARD = 2, ROWS_FORWARD = 64 * M_FORWARD, FORWARD_PER_SM = 1;
constexpr int M_BACKWARD = MAX_HEAD_DIM > 64 ? 1 : 2, ROWS_BACKWARD = 64 * M_BACKWARD;
constexpr int BACKWARD_PER_SM = 1;

#include "attention.cuh"

constexpr bool BF16 = sizeof(T) == 2;
constexpr int WORDS = MAX_HEAD_DIM * sizeof(T) / 4;  // of a row: a number, or two
constexpr int LD = WORDS + 4;                       // from row to row in shared memory
constexpr int K = BF16 ? 16 : 8;                    // columns of a left operand
constexpr int FEWER = DROPOUT ? 2 : 1;              // to draw random words takes registers
constexpr int C_FORWARD = (MAX_HEAD_DIM > 64 ? 32 : 64) / FEWER;
constexpr int C_BACKWARD = BF16 && !DROPOUT ? 32 : 16;      // 32 in TF32: NVRTC 12.9 and 13.0 spill

#ifdef LAUNCHER_EXPECTS                         // what attention.py has reckoned with
constexpr int expected[] = {LAUNCHER_EXPECTS};
static_assert(expected[0] == THREADS_PER_BLOCK && expected[1] == ROWS_FORWARD &&
              expected[2] == ROWS_BACKWARD &&
              expected[3] == 4 * (ROWS_FORWARD + 4 * C_FORWARD) * LD &&
              expected[4] == 4 * (2 * ROWS_BACKWARD * LD + 4 * C_BACKWARD * LD + 4 * C_BACKWARD),
              "attention.py, _mma");
#endif

// tile ← the rows first ... first + count - 1; zeros where there are none, and beyond d.
__device__ inline void fetch(u32* tile, Rows rows, int first, int count, int d) {
    const int VECS_PER_ROW = MAX_HEAD_DIM / MAX_VEC;
#pragma unroll 1                                // few registers are left
    for (int i = threadIdx.x; i < count * VECS_PER_ROW; i += THREADS_PER_BLOCK) {
        int r = i / VECS_PER_ROW, c = i % VECS_PER_ROW;
        u32* to = tile + r * LD + 4 * c;
        if (first + r < rows.n && c * MAX_VEC < d)
            cp_async(to, rows.at(first + r) + c * MAX_VEC);
        else
            *reinterpret_cast<Vec*>(to) = Vec{};
    }
}

__device__ inline void mma(float* d, const u32* a, const u32* b) {
    if (BF16) mma_bf16(d, a, b);
    else mma_tf32(d, a, b);
}

// Operands as they lie in shared memory, rounded if they have to be.
__device__ inline void round_(u32 (&x)[4]) {
    if (!BF16) UNROLL_FOR(i, 4) x[i] = to_tf32(__uint_as_float(x[i]));
}

// w = x yᵀ, 16 M rows of x and C of y.
template <int M, int C> __device__ inline void dots(float (&w)[M][C / 8][4], const u32* x,
                                                    const u32* y) {
    int lane = threadIdx.x % 32;
    x += lane % 16 * LD + lane / 16 * 4;
    y += (lane % 8 + lane / 16 * 8) * LD + lane / 8 % 2 * 4;
    UNROLL_FOR(m, M) UNROLL_FOR(n, C / 8) UNROLL_FOR(i, 4) w[m][n][i] = 0;
#pragma unroll 2
    for (int k = 0; k != WORDS / 8; k++) {
        u32 a[M][4], b[4];
        UNROLL_FOR(m, M) {
            load_matrices(a[m], x + 16 * m * LD + 8 * k);
            round_(a[m]);
        }
        UNROLL_FOR(n, C / 16) {                 // 16 rows of y: two right operands
            load_matrices(b, y + 16 * n * LD + 8 * k);
            round_(b);
            UNROLL_FOR(m, M) {
                mma(w[m][2 * n], a[m], b);
                mma(w[m][2 * n + 1], a[m], b + 2);
            }
        }
    }
}

// acc += w y, where w are accumulators of `dots`.
template <int M, int C> __device__ inline void add(float (&acc)[M][MAX_HEAD_DIM / 8][4],
                                                   const float (&w)[M][C / 8][4], const u32* y) {
    int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    UNROLL_FOR(k, C / K) {
        u32 a[M][4], b[4];
        UNROLL_FOR(m, M) UNROLL_FOR(i, 4) {
            if (BF16) a[m][i] = pack(w[m][k * K / 8 + i / 2][i % 2 * 2],
                                     w[m][k * K / 8 + i / 2][i % 2 * 2 + 1]);
            else a[m][i] = to_tf32(w[m][k][i % 2 * 2 + i / 2]);
        }
        UNROLL_FOR(n, MAX_HEAD_DIM / 16) {      // 16 columns of y
            if (BF16) {
                load_transposed(b, y + (K * k + lane % 16) * LD + 8 * n + lane / 16 * 4);
            } else {
                UNROLL_FOR(i, 4) b[i] = y[(K * k + 2 * t + i % 2) * LD + 16 * n + i / 2 * 8 + g];
                round_(b);
            }
            UNROLL_FOR(m, M) {
                mma(acc[m][2 * n], a[m], b);
                mma(acc[m][2 * n + 1], a[m], b + 2);
            }
        }
    }
}

// For the accumulators w[m][n][l] of `dots`, is the weight kept: bit 4 n + l of bits[m]. The first
// rows are `first` and `y`; S keys, which are the rows of x (KEYS) or of y.
template <bool KEYS, int M, int C> __device__ inline void draw(u32 (&bits)[M], const Task& task,
                                                               int S, int first, int y) {
    int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    UNROLL_FOR(m, M) {
        bits[m] = 0;
#pragma unroll 1
        for (int b = 0; b != C / 2; b += 2) {
            int i = first + 16 * m + b / 2 % 2 * 8 + g, j = y + b / 4 * 8 + 2 * t;
            u32 two = KEYS ? (keeps(task, S, j, i) & 1) | (keeps(task, S, j + 1, i) & 1) << 1
                           : keeps(task, S, i, j);
            bits[m] |= two << b;
        }
    }
}

// rows ← acc; factor: of the rows g and g + 8 of each m.
template <int M> __device__ inline void write(Rows rows, int first, int d,
                                              const float (&acc)[M][MAX_HEAD_DIM / 8][4],
                                              const float (&factor)[M][2]) {
    int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    UNROLL_FOR(m, M) UNROLL_FOR(h, 2) UNROLL_FOR(n, MAX_HEAD_DIM / 8) {
        int r = first + 16 * m + 8 * h + g;
        float x = acc[m][n][2 * h] * factor[m][h], y = acc[m][n][2 * h + 1] * factor[m][h];
        if (r >= rows.n || 8 * n >= d) continue;
        T* to = rows.at(r) + 8 * n + 2 * t;
        if (BF16) *reinterpret_cast<u32*>(to) = pack(x, y);
        else *reinterpret_cast<float2*>(to) = make_float2(x, y);
    }
}

__device__ inline void forward_rows(Task task, Rows q, Rows k, Rows v, Rows o) {
    const int M = M_FORWARD, C = C_FORWARD;
    SHARED(u32, tile_q);                        // (ROWS, LD), then twice (C, LD) of k and of v
    u32* tile_kv = tile_q + ROWS_FORWARD * LD;
    int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    int first = task.first + 16 * M * warp;     // of the warp's rows
    u32* own = tile_q + 16 * M * warp * LD;
    float c = task.c * float(LOG2E);

    float acc[M][MAX_HEAD_DIM / 8][4] = {}, m_[M][2], Z[M][2];  // m_ is m / c; Z of own columns
    UNROLL_FOR(m, M) UNROLL_FOR(h, 2) {
        m_[m][h] = -INFINITY_F;
        Z[m][h] = 0;
    }
    int count = tiles(task.causal ? min(k.n, task.first + ROWS_FORWARD) : k.n, C);
    fetch(tile_q, q, task.first, ROWS_FORWARD, task.d);
    fetch(tile_kv, k, 0, C, task.d);
    fetch(tile_kv + C * LD, v, 0, C, task.d);
    for (int i = 0; i != count; i++) {
        u32* tile = tile_kv + i % 2 * 2 * C * LD;
        int s = i * C;
        cp_async_commit();
        cp_async_wait<0>();
        __syncthreads();                        // and the other tile is no longer needed
        if (i + 1 != count) {
            u32* next = tile_kv + (1 - i % 2) * 2 * C * LD;
            fetch(next, k, s + C, C, task.d);
            fetch(next + C * LD, v, s + C, C, task.d);
        }
        if (task.causal && s >= first + 16 * M) continue;       // none of its rows sees these
        u32 bits[M];
        if (DROPOUT) draw<false, M, C>(bits, task, k.n, first, s);
        float x[M][C / 8][4];
        dots<M, C>(x, own, tile);
        if (s + C > k.n || (task.causal && s + C > first + 1))
            UNROLL_FOR(m, M) UNROLL_FOR(n, C / 8) UNROLL_FOR(l, 4) {
                int row = first + 16 * m + l / 2 * 8 + g, j = s + 8 * n + 2 * t + l % 2;
                if (j >= k.n || (task.causal && j > row)) x[m][n][l] = -INFINITY_F;
            }
        UNROLL_FOR(m, M) UNROLL_FOR(h, 2) {
            float most = m_[m][h];
            UNROLL_FOR(n, C / 8) UNROLL_FOR(l, 2) most = fmaxf(most, x[m][n][2 * h + l]);
            most = fmaxf(most, __shfl_xor_sync(ALL_LANES, most, 1));
            most = fmaxf(most, __shfl_xor_sync(ALL_LANES, most, 2));
            float base = most == -INFINITY_F ? 0.0f : most * c;
            float f = exp2_(m_[m][h] * c - base);
            m_[m][h] = most;
            Z[m][h] *= f;
            UNROLL_FOR(n, C / 8) UNROLL_FOR(l, 2) {
                float& E = x[m][n][2 * h + l];
                Z[m][h] += E = exp2_(E * c - base);
                if (DROPOUT && !(bits[m] >> (4 * n + 2 * h + l) & 1)) E = 0;
            }
            UNROLL_FOR(n, MAX_HEAD_DIM / 8) UNROLL_FOR(l, 2) acc[m][n][2 * h + l] *= f;
        }
        add<M, C>(acc, x, tile + C * LD);
    }
    UNROLL_FOR(m, M) UNROLL_FOR(h, 2) {
        Z[m][h] += __shfl_xor_sync(ALL_LANES, Z[m][h], 1);
        Z[m][h] += __shfl_xor_sync(ALL_LANES, Z[m][h], 2);
        int row = first + 16 * m + 8 * h + g;
        if (t == 0 && row < q.n) task.lse[row] = m_[m][h] * c + log2_(Z[m][h]);
        Z[m][h] = task.scale / Z[m][h];
    }
    write<M>(o, first, task.d, acc, Z);
}

template <bool KEYS> __device__ inline void backward_rows(
        Task task, Rows x1, Rows x2, Rows y1, Rows y2, Rows dx1, Rows dx2) {
    const int M = M_BACKWARD, C = C_BACKWARD, TILE = 2 * C * LD + 2 * C;
    SHARED(u32, tile_x1);                       // twice (ROWS, LD), then twice y1, y2 (C, LD), lse, D
    u32 *tile_x2 = tile_x1 + ROWS_BACKWARD * LD, *tile_y = tile_x2 + ROWS_BACKWARD * LD;
    int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    int first = task.first + 16 * M * warp, last = first + 16 * M - 1;
    u32 *own1 = tile_x1 + 16 * M * warp * LD, *own2 = tile_x2 + 16 * M * warp * LD;
    float c = task.c * float(LOG2E);

    auto fetch_y = [&](int y, int place) {
        u32* tile = tile_y + place * TILE;
        fetch(tile, y1, y, C, task.d);
        fetch(tile + C * LD, y2, y, C, task.d);
        u32 i = threadIdx.x;
        if (KEYS && i < C / 2)                  // lse and D, to a multiple of 32 queries
            cp_async(tile + 2 * C * LD + 4 * i,
                     (i < C / 4 ? task.lse + 4 * i : task.D + 4 * i - C) + y);
    };

    float acc1[M][MAX_HEAD_DIM / 8][4] = {}, acc2[M][MAX_HEAD_DIM / 8][4] = {}, lse[M][2], D[M][2];
    UNROLL_FOR(m, M) UNROLL_FOR(h, 2) {
        int n = first + 16 * m + 8 * h + g;
        lse[m][h] = !KEYS && n < x1.n ? task.lse[n] : 0;
        D[m][h] = !KEYS && n < x1.n ? task.D[n] : 0;
    }
    int end = tiles(!KEYS && task.causal ? min(y1.n, task.first + ROWS_BACKWARD) : y1.n, C) * C;
    int begin = KEYS && task.causal ? min(task.first, end) : 0, place = 0;
    if (begin != end) {
        fetch(tile_x1, x1, task.first, ROWS_BACKWARD, task.d);
        fetch(tile_x2, x2, task.first, ROWS_BACKWARD, task.d);
        fetch_y(begin, place);
    }
    for (int y = begin; y != end; y += C, place = 1 - place) {
        u32* tile = tile_y + place * TILE;
        cp_async_commit();
        cp_async_wait<0>();
        __syncthreads();                        // and the other tile is no longer needed
        if (y + C != end) fetch_y(y + C, 1 - place);
        if (task.causal && (KEYS ? y + C <= first : y > last)) continue;
        const float *lse_y = reinterpret_cast<const float*>(tile + 2 * C * LD), *D_y = lse_y + C;
        bool is_whole = y + C <= y1.n && !(task.causal && (KEYS ? y < last : y + C > first + 1));
        auto is_seen = [&](int m, int n, int l) {
            int i = first + 16 * m + l / 2 * 8 + g, j = y + 8 * n + 2 * t + l % 2;
            return is_whole || (j < y1.n && !(task.causal && (KEYS ? j < i : j > i)));
        };
        u32 bits[M];
        if (DROPOUT) draw<KEYS, M, C>(bits, task, KEYS ? x1.n : y1.n, first, y);
        float P[M][C / 8][4], dA[M][C / 8][4];          // dA is W at first
        dots<M, C>(P, own1, tile);
        UNROLL_FOR(m, M) UNROLL_FOR(n, C / 8) UNROLL_FOR(l, 4) {
            float lse_n = KEYS ? lse_y[8 * n + 2 * t + l % 2] : lse[m][l / 2];
            P[m][n][l] = is_seen(m, n, l) ? exp2_(P[m][n][l] * c - lse_n) : 0.0f;
            dA[m][n][l] = !DROPOUT || bits[m] >> (4 * n + l) & 1 ? P[m][n][l] : 0.0f;
        }
        if (KEYS) add<M, C>(acc2, dA, tile + C * LD);
        dots<M, C>(dA, own2, tile + C * LD);
        UNROLL_FOR(m, M) UNROLL_FOR(n, C / 8) UNROLL_FOR(l, 4) {
            float D_n = KEYS ? D_y[8 * n + 2 * t + l % 2] : D[m][l / 2], dP = dA[m][n][l];
            if (DROPOUT) dP = bits[m] >> (4 * n + l) & 1 ? dP * task.scale : 0.0f;
            dA[m][n][l] = is_seen(m, n, l) ? P[m][n][l] * (dP - D_n) : 0.0f;
        }
        add<M, C>(acc1, dA, tile);
    }
    float f1[M][2], f2[M][2];
    UNROLL_FOR(m, M) UNROLL_FOR(h, 2) {
        f1[m][h] = task.c;
        f2[m][h] = task.scale;
    }
    write<M>(dx1, first, task.d, acc1, f1);
    if (KEYS) write<M>(dx2, first, task.d, acc2, f2);
}
