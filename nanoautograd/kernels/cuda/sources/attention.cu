// Attention in tiles that stay on the chip (derived in manual/attention.py; lse and D in
// kernels/cpu/attention.py; T is a type here, so the number of queries is N).
//
//     q, dq  (B, H, N, d)      o, do  (B, H, N, d)      lse  (B, H, N)   base 2 logarithms, see below
//     k, dk  (B, H, S, d)      v, dv  (B, H, S, d)      D    (B, H, N)   D_n = Σ_i do_ni o_ni
//
// The scores A = c q kᵀ are made and used up R x R at a time, by blocks of 256 threads (Dao, Fu,
// Ermon, Rudra and Ré 2022, "FlashAttention", algorithms 1 and 4; the loops in the order of Dao
// 2023, "FlashAttention-2", algorithms 1 and 2). With x = A log₂ e, so that exp(A) = 2ˣ:
//
// Forward. A block owns R queries and goes through the keys. It keeps the largest x so far, m, and
// of what it has read Z = Σ 2^(x - m) and acc = Σ r 2^(x - m) v; when m grows to m', both are
// multiplied by 2^(m - m'). In the end
//
//     o = acc / Z              lse = m + log₂ Z         P_ns = 2^(x_ns - lse_n)
//
// Masks are not taken here, so every row sees a key: a causal one key 0 at least. Only if q kᵀ itself
// is -inf throughout, a row is 0/0 = nan, which it is in manual/ too.
//
// Backward. P is made again from lse. Nothing is added up by several blocks: one pass is over blocks
// that own keys and go through the queries, for dk and dv, and another over blocks that own queries
// and go through the keys, for dq. Seen from its own rows x1, x2 and the others y1, y2, both are
//
//     own keys      x1 = k,  x2 = v,  y1 = q,  y2 = do        dk = c dAᵀ q,  dv = Wᵀ do
//     own queries   x1 = q,  x2 = do, y1 = k,  y2 = v         dq = c dA k
//
//     P = 2^(c log₂ e x1 y1ᵀ - lse)    dP = r x2 y2ᵀ    dA = P (dP - D)
//     dx1 = c dA y1                    dx2 = r P y2, for keys only
//
// transposed where keys are rows. That is seven products instead of five, and no atomics.
//
// If `causal`, only the tiles are read that have a pair s <= n. Rows beyond the end and columns
// beyond d are zeros in shared memory.

#include "common.cuh"

constexpr int THREADS_PER_BLOCK = 256;              // 16 x 16, (ty, tx)
constexpr int R = sizeof(T) == 8 ? 32 : 64;         // rows of a tile
constexpr int ROWS_FORWARD = R, FORWARD_PER_SM = sizeof(T) == 8 ? 1 : 2;
constexpr int ROWS_BACKWARD = R;
constexpr int BACKWARD_PER_SM = sizeof(T) == 8 || MAX_HEAD_DIM > 64 || DROPOUT ? 1 : 2;

#include "attention.cuh"

constexpr int SIDE = R / 16;                            // a thread has SIDE x SIDE scores,
constexpr int COLUMNS = MAX_HEAD_DIM / (16 * MAX_VEC);  // and so many Vecs of a row of results
constexpr int LD = MAX_HEAD_DIM + MAX_VEC;              // from row to row in shared memory: 16 bytes
constexpr int LW = R + MAX_VEC;                         // more, so that 8 rows lie in different banks

#ifdef LAUNCHER_EXPECTS                         // what attention.py has reckoned with
constexpr int expected[] = {LAUNCHER_EXPECTS};
static_assert(expected[0] == THREADS_PER_BLOCK && expected[1] == ROWS_FORWARD &&
              expected[2] == ROWS_BACKWARD &&
              expected[3] == int(sizeof(T)) * (2 * R * LD + R * LW) &&
              expected[4] == int(sizeof(T)) * (4 * R * LD + R * LW), "attention.py, _plain");
#endif

// tile ← rows first, first + 1, ...
__device__ inline void fill(T* tile, Rows rows, int first, int d) {
    const int VECS_PER_ROW = MAX_HEAD_DIM / MAX_VEC;
    for (int i = threadIdx.x; i < R * VECS_PER_ROW; i += THREADS_PER_BLOCK) {
        int r = i / VECS_PER_ROW, c = i % VECS_PER_ROW * MAX_VEC;
        Vec w = {};
        if (first + r < rows.n && c < d)
            w = *reinterpret_cast<const Vec*>(rows.at(first + r) + c);
        *reinterpret_cast<Vec*>(tile + r * LD + c) = w;
    }
}

// Of the thread (ty, tx): w_ab = x_i · y_j with i = ty + 16 a, j = tx + 16 b.
__device__ inline void dots(AccumT (&w)[SIDE][SIDE], const T* x, const T* y) {
    int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
    UNROLL_FOR(a, SIDE) UNROLL_FOR(b, SIDE) w[a][b] = 0;
    for (int c = 0; c != MAX_HEAD_DIM; c += MAX_VEC) {
        Vec y_[SIDE];
        UNROLL_FOR(b, SIDE) y_[b] = *reinterpret_cast<const Vec*>(y + (tx + 16 * b) * LD + c);
        UNROLL_FOR(a, SIDE) {
            Vec x_ = *reinterpret_cast<const Vec*>(x + (ty + 16 * a) * LD + c);
            UNROLL_FOR(b, SIDE) UNROLL_FOR(i, MAX_VEC) w[a][b] += x_.x[i] * y_[b].x[i];
        }
    }
}

// acc += w y; of a thread the rows ty + 16 a, and the Vecs tx + 16 c of each. A row of w is written
// and read by the same half of a warp. scratch: (R, LW) numbers of shared memory.
__device__ inline void add(Vec (&acc)[SIDE][COLUMNS], const AccumT (&w)[SIDE][SIDE], const T* y,
                           T* scratch) {
    int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
    UNROLL_FOR(a, SIDE) UNROLL_FOR(b, SIDE) scratch[(ty + 16 * a) * LW + tx + 16 * b] = w[a][b];
    __syncwarp();
    for (int j = 0; j != R; j += MAX_VEC) {
        Vec w_[SIDE];
        UNROLL_FOR(a, SIDE)
            w_[a] = *reinterpret_cast<const Vec*>(scratch + (ty + 16 * a) * LW + j);
        UNROLL_FOR(i, MAX_VEC) UNROLL_FOR(c, COLUMNS) {
            Vec y_ = *reinterpret_cast<const Vec*>(y + (j + i) * LD + (tx + 16 * c) * MAX_VEC);
            UNROLL_FOR(a, SIDE) UNROLL_FOR(l, MAX_VEC) acc[a][c].x[l] += w_[a].x[i] * y_.x[l];
        }
    }
    __syncwarp();
}

// r_ns of S keys.
__device__ inline AccumT factor(const Task& task, int S, int n, int s) {
    return DROPOUT ? (keeps(task, S, n, s) & 1 ? task.scale : AccumT(0)) : AccumT(1);
}

// rows ← factor acc, those from `first` on.
__device__ inline void write(Rows rows, int first, int d, const Vec (&acc)[SIDE][COLUMNS],
                             const AccumT (&factor)[SIDE]) {
    int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
    UNROLL_FOR(a, SIDE) UNROLL_FOR(c, COLUMNS) {
        int r = first + ty + 16 * a, i = (tx + 16 * c) * MAX_VEC;
        Vec w = acc[a][c];
        UNROLL_FOR(l, MAX_VEC) w.x[l] *= factor[a];
        if (r < rows.n && i < d) *reinterpret_cast<Vec*>(rows.at(r) + i) = w;
    }
}

__device__ inline void forward_rows(Task task, Rows q, Rows k, Rows v, Rows o) {
    SHARED(T, tile_q);                          // (R, LD), the same again, (R, LW)
    T *tile_kv = tile_q + R * LD, *scratch = tile_kv + R * LD;
    int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
    fill(tile_q, q, task.first, task.d);

    Vec acc[SIDE][COLUMNS] = {};
    AccumT m[SIDE], Z[SIDE];        // Z of the thread's columns only
    UNROLL_FOR(a, SIDE) {
        m[a] = -AccumT(INFINITY_F);
        Z[a] = 0;
    }
    int end = task.causal ? min(k.n, task.first + R) : k.n;
    for (int s = 0; s != tiles(end, R) * R; s += R) {
        fill(tile_kv, k, s, task.d);
        __syncthreads();
        AccumT x[SIDE][SIDE];
        dots(x, tile_q, tile_kv);
        __syncthreads();                        // the keys make room for the values
        fill(tile_kv, v, s, task.d);
        UNROLL_FOR(a, SIDE) {
            AccumT most = m[a];
            UNROLL_FOR(b, SIDE) {
                int n = task.first + ty + 16 * a, j = s + tx + 16 * b;
                bool is_seen = j < k.n && (!task.causal || j <= n);
                x[a][b] = is_seen ? x[a][b] * (task.c * AccumT(LOG2E)) : -AccumT(INFINITY_F);
                most = max_(most, x[a][b]);
            }
            for (int i = 8; i; i /= 2) most = max_(most, __shfl_xor_sync(ALL_LANES, most, i));
            AccumT m_ = most == -AccumT(INFINITY_F) ? AccumT(0) : most;
            AccumT f = exp2_(m[a] - m_);
            m[a] = most;
            Z[a] *= f;
            UNROLL_FOR(b, SIDE) {
                x[a][b] = exp2_(x[a][b] - m_);
                Z[a] += x[a][b];
                x[a][b] *= factor(task, k.n, task.first + ty + 16 * a, s + tx + 16 * b);
            }
            UNROLL_FOR(i, COLUMNS) UNROLL_FOR(l, MAX_VEC) acc[a][i].x[l] *= f;
        }
        __syncthreads();
        add(acc, x, tile_kv, scratch);
        __syncthreads();
    }
    UNROLL_FOR(a, SIDE) {
        for (int i = 8; i; i /= 2) Z[a] += __shfl_xor_sync(ALL_LANES, Z[a], i);
        int n = task.first + ty + 16 * a;
        if (tx == 0 && n < q.n) task.lse[n] = m[a] + log2_(Z[a]);
        Z[a] = AccumT(1) / Z[a];
    }
    write(o, task.first, task.d, acc, Z);
}

template <bool KEYS> __device__ inline void backward_rows(
        Task task, Rows x1, Rows x2, Rows y1, Rows y2, Rows dx1, Rows dx2) {
    SHARED(T, tile_x1);                         // 4 times (R, LD), then (R, LW)
    T *tile_x2 = tile_x1 + R * LD, *tile_y1 = tile_x2 + R * LD, *tile_y2 = tile_y1 + R * LD;
    T* scratch = tile_y2 + R * LD;
    int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
    fill(tile_x1, x1, task.first, task.d);
    fill(tile_x2, x2, task.first, task.d);
    Vec acc1[SIDE][COLUMNS] = {}, acc2[SIDE][COLUMNS] = {};
    int begin = KEYS && task.causal ? min(task.first, tiles(y1.n, R) * R) : 0;
    int end = !KEYS && task.causal ? min(y1.n, task.first + R) : y1.n;
    for (int y = begin; y != tiles(end, R) * R; y += R) {
        fill(tile_y1, y1, y, task.d);
        fill(tile_y2, y2, y, task.d);
        __syncthreads();
        AccumT P[SIDE][SIDE], dA[SIDE][SIDE];
        dots(P, tile_x1, tile_y1);
        dots(dA, tile_x2, tile_y2);
        UNROLL_FOR(a, SIDE) UNROLL_FOR(b, SIDE) {
            int i = task.first + ty + 16 * a, j = y + tx + 16 * b;
            int n = KEYS ? j : i, s = KEYS ? i : j;
            bool is_seen = i < x1.n && j < y1.n && (!task.causal || s <= n);
            AccumT r = factor(task, KEYS ? x1.n : y1.n, n, s);
            P[a][b] = is_seen ? exp2_(P[a][b] * (task.c * AccumT(LOG2E)) - task.lse[n]) : AccumT(0);
            dA[a][b] = is_seen ? P[a][b] * (r * dA[a][b] - task.D[n]) : AccumT(0);
            P[a][b] *= r;                       // W
        }
        if (KEYS) add(acc2, P, tile_y2, scratch);
        add(acc1, dA, tile_y1, scratch);
        __syncthreads();
    }
    AccumT cs[SIDE], ones[SIDE];
    UNROLL_FOR(a, SIDE) {
        cs[a] = task.c;
        ones[a] = 1;
    }
    write(dx1, task.first, task.d, acc1, cs);
    if (KEYS) write(dx2, task.first, task.d, acc2, ones);
}
