// Layer normalisation of rows (derived in manual/layer_norm.py, where the letters are).
//
//     z = x + a          d = z - μ          x̂ = d r          y = w x̂ + b
//     e = dy x̂           dw_i = Σ_m e_mi         db_i = Σ_m dy_mi
//     dx = dz  +  r (w dy  -  1/N Σ_i w_i dy_i  -  x̂/N Σ_i w_i e_i)
//
// Where the squares of d leave the range of their type, d is first divided by s, its largest number; r
// is then (s r)/s.
//
// Without a residual a and z are null, and z is x. A row is held in registers (rows.cuh), so it is read
// once: on the way there x, of which first μ and then the squares of d are added up; on the way back
// z and dy. There a block goes through many rows, of which its threads add up dw and db, each in the
// columns that it holds; what the blocks have found is added up by a second kernel, `columns`. Which
// rows a block has depends on M and N alone, and no sum is added to by several threads at once
// (columns.cuh): so every run gives the same bits.
//
// A row has room for ITEMS_PER_THREAD · THREADS_PER_ROW columns, N or more. Those beyond N are read
// as 0 and not written. Only d = z - μ is not 0 there: on the way there it is set to 0, on the way back
// it is multiplied by dy, which is. So they add nothing to any sum.

#include "columns.cuh"

extern "C" __global__ void __launch_bounds__(256)
forward(const T* x, const T* a, const T* w, const T* b, T* z, T* y, AccumT* mu, AccumT* r, int M, int N,
        AccumT eps) {
    SHARED(AccumT, scratch);                            // 32
    long long m = blockIdx.x * (long long)blockDim.y + threadIdx.y;
    if (m >= M) return;         // a warp that has no row: row_sum has no barrier where rows are warps
    AccumT d[ITEMS_PER_THREAD], mean = 0, s = 1;
    read_row(d, x + m * N, N);
    if (a) {
        add_row(d, a + m * N, N);
        round_row(d);                                   // as the way back will find it
        write_row(z + m * N, d, N);
    }
    UNROLL_FOR(i, ITEMS_PER_THREAD) mean += d[i];
    mean = row_sum(mean, scratch) / N;
    UNROLL_FOR(i, ITEMS_PER_THREAD) d[i] = column(i) < N ? d[i] - mean : AccumT(0);
    AccumT v = row_sum(squares(d), scratch) / N + eps;
    if (!in_range(v)) {
        s = into_range(d, sqrt_(eps), scratch);
        v = row_sum(squares(d), scratch) / N + eps / s / s;
    }
    AccumT r_m = 1 / sqrt_(v);
    UNROLL_FOR(i, ITEMS_PER_THREAD) d[i] *= r_m;        // x̂
    if (w) scale_row(d, w, N);
    if (b) add_row(d, b, N);
    write_row(y + m * N, d, N);
    if (threadIdx.x == 0) {
        mu[m] = mean;
        r[m] = r_m / s;
    }
}

// partial (2, blocks, N): what the rows of a block add to dw and db. It may be null, and dz and dx.
extern "C" __global__ void __launch_bounds__(256)
backward(const T* z, const T* w, const AccumT* mu, const AccumT* r, const T* dy, const T* dz, T* dx,
         AccumT* partial, int M, int N) {
    // ITEMS_PER_THREAD · 32: join_rows needs so many where a block has several rows, and then
    // THREADS_PER_ROW is 32; row_sum needs 32.
    SHARED(AccumT, scratch);
    AccumT dw[ITEMS_PER_THREAD] = {}, db[ITEMS_PER_THREAD] = {};
    for (long long m = blockIdx.x * (long long)blockDim.y + threadIdx.y; m < M;
         m += gridDim.x * blockDim.y) {
        AccumT d[ITEMS_PER_THREAD], g[ITEMS_PER_THREAD];
        AccumT mean = mu[m], r_m = r[m], sum_g = 0, sum_e = 0;
        read_row(d, z + m * N, N);
        read_row(g, dy + m * N, N);
        UNROLL_FOR(i, ITEMS_PER_THREAD) {
            d[i] = (d[i] - mean) * r_m;                 // x̂
            dw[i] += g[i] * d[i];
            db[i] += g[i];
        }
        if (w) scale_row(g, w, N);                      // from here on dx̂ = w dy
        UNROLL_FOR(i, ITEMS_PER_THREAD) {
            sum_g += g[i];
            sum_e += g[i] * d[i];
        }
        AccumT mean_g = row_sum(sum_g, scratch) / N, c = row_sum(sum_e, scratch) / N;
        UNROLL_FOR(i, ITEMS_PER_THREAD) g[i] = r_m * (g[i] - mean_g - d[i] * c);
        if (dz) add_row(g, dz + m * N, N);
        if (dx) write_row(dx + m * N, g, N);
    }
    if (!partial) return;
    join_rows(dw, partial + (long long)blockIdx.x * N, N, scratch);
    join_rows(db, partial + (long long)(gridDim.x + blockIdx.x) * N, N, scratch);
}

// partial of `backward` by P blocks -> dw, db, of which either may be null.
extern "C" __global__ void columns(const AccumT* partial, T* dw, T* db, int P, int N) {
    SHARED(AccumT, scratch);                            // 32 · 33
    T* sums = blockIdx.y ? db : dw;
    if (sums) add_partials(partial + (long long)blockIdx.y * P * N, sums, P, N, scratch);
}
