// Rows of a table (derived in manual/embedding.py).
//
//     n  (M,)    ids                       y   (M, D)   the rows that they name
//     E  (V, D)  table                     dy, dE       ∂L/∂y, ∂L/∂E
//     k  (M,)    keys, see below           part         sums of pieces of runs, see below
//
//     y_m = E_{n_m}                        dE_v = Σ_m [v = n_m] dy_m
//
// To add dy_m to its row as it comes is to let the order of the threads decide how the sum is
// rounded. So the places are brought into an order first, that of the keys
//
//     k_m = 2³² v + m                v = n_m, or V if its row gets nothing: it is the padding, or
//                                    the id is out of range
//
// No two are the same, so any way to sort them has one result: the places of an id side by side, a
// run, from the first to the last. Runs are as long as ids are frequent. So that all threads have
// as much to do, they do not add up runs but chunks of L sorted keys, for a few columns each. The
// sum of a run that lies within a chunk c is dE_v. One that goes on into other chunks leaves a part
// in each: part_c1 where it begins, part_c0 in those after it; `join` adds these. A chunk has two
// ends, and so at most two such runs: one that comes from the chunk before, and one that begins in
// it and goes on. Therefore part is (chunks, 2, D). With L = 3 and v of the sorted keys
//
//     5 5 5 | 5 7 7 | 7 8 9        dE_5 = part_01 + part_10        dE_7 = part_11 + part_20
//
// and those of 8 and 9 are written at once.

#include "common.cuh"
#include "problem.cuh"

constexpr int ASSERTION = 2;        // an id is out of range

__device__ inline int row_of(long long key) { return int(key >> 32); }
__device__ inline long long place_of(long long key) { return key & 0xffffffffll; }

// ---- forward: blockDim.y rows a block

template <int W> __device__ inline void copy_row(const T* from, T* to, int D) {
    for (int d = threadIdx.x * W; d < D; d += blockDim.x * W) {
        Pack<T, W> zeros = {};
        *reinterpret_cast<Pack<T, W>*>(to + d) =
            from ? *reinterpret_cast<const Pack<T, W>*>(from + d) : zeros;
    }
}

extern "C" __global__ void forward(const IdT* n, const T* E, T* y, long long* k, int* problem,
                                   long long M, int V, int D, int padding) {
    long long m = blockIdx.x * (long long)blockDim.y + threadIdx.y;
    if (m >= M) return;
    long long v = n[m];
    bool is_row = v >= 0 && v < V;
    if (threadIdx.x == 0) {
        if (!is_row) fail_assertion(problem, ASSERTION, m, v, V);
        k[m] = (is_row && v != padding ? v : V) << 32 | m;
    }
    const T* from = is_row ? E + v * D : nullptr;
    if (D % MAX_VEC == 0 && aligned(E, y)) copy_row<MAX_VEC>(from, y + m * D, D);
    else copy_row<1>(from, y + m * D, D);
}

// ---- backward: blockDim.y chunks a block; dE is zero where nothing is written

constexpr int AHEAD = 4;                // rows that a thread asks for before it adds the first

template <int W>
__device__ inline void sum_chunk(const T* dy, const long long* k, AccumT* part, T* dE, long long c,
                                 long long M, int V, int D, int L) {
    long long begin = c * L, end = min(begin + L, M);
    int before = begin ? row_of(k[begin - 1]) : -1, after = end < M ? row_of(k[end]) : -1;
    for (int d = threadIdx.x * W; d < D; d += blockDim.x * W) {
        AccumT sum[W] = {};
        int v = row_of(k[begin]);
        bool begins = v != before;
        auto leave = [&](bool goes_on) {                    // the sum, and begin a new one
            if (v >= V) return;
            for (int j = 0; j < W; j++) {
                if (!begins || goes_on) part[(2 * c + begins) * D + d + j] = sum[j];
                else store(dE + (long long)v * D + d + j, sum[j]);
                sum[j] = 0;
            }
        };
        long long i = begin;
        do {
            int rows[AHEAD];
            Pack<T, W> x[AHEAD] = {};
            for (int a = 0; a < AHEAD; a++) {
                long long key = i + a < end ? k[i + a] : -1;
                rows[a] = row_of(key);                      // -1: past the end
                if (rows[a] >= 0 && rows[a] < V)
                    x[a] = *reinterpret_cast<const Pack<T, W>*>(dy + place_of(key) * D + d);
            }
            for (int a = 0; a < AHEAD; a++) {
                if (rows[a] < 0) continue;
                if (rows[a] != v) {
                    leave(false);
                    v = rows[a];
                    begins = true;
                }
                for (int j = 0; j < W; j++) sum[j] += load(&x[a].x[j]);
            }
            i += AHEAD;
        } while (i < end);
        leave(v == after);
    }
}

extern "C" __global__ void sums(const T* dy, const long long* k, AccumT* part, T* dE, long long M, int V,
                                int D, int L) {
    long long c = blockIdx.x * (long long)blockDim.y + threadIdx.y;
    if (c * L >= M) return;
    if (D % MAX_VEC == 0 && aligned(dy, dE)) sum_chunk<MAX_VEC>(dy, k, part, dE, c, M, V, D, L);
    else sum_chunk<1>(dy, k, part, dE, c, M, V, D, L);
}

// The run that begins in chunk blockIdx.x and goes on, if there is one: 32 columns a block, the
// parts shared among blockDim.y threads, whose sums are added in the order of the threads.
extern "C" __global__ void join(const AccumT* part, const long long* k, T* dE, long long M, int V, int D,
                                int L) {
    SHARED(AccumT, scratch);                                // blockDim.y · 32
    long long c = blockIdx.x, begin = c * L, end = begin + L;
    if (end >= M) return;
    int v = row_of(k[end]), d = blockIdx.y * 32 + threadIdx.x;
    if (v >= V || row_of(k[end - 1]) != v || (begin && row_of(k[begin - 1]) == v)) return;
    long long low = end, high = M;                          // the first key of another row
    while (low < high) {
        long long middle = (low + high) / 2;
        if (row_of(k[middle]) == v) low = middle + 1;
        else high = middle;
    }
    long long last = (low - 1) / L;
    AccumT sum = 0;
    if (d < D)
        for (long long b = c + threadIdx.y; b <= last; b += blockDim.y)
            sum += part[(2 * b + (b == c)) * D + d];
    scratch[threadIdx.y * 32 + threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y || d >= D) return;
    for (u32 y = 1; y < blockDim.y; y++) sum += scratch[y * 32 + threadIdx.x];
    store(dE + (long long)v * D + d, sum);
}
