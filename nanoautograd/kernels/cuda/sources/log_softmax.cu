// Logarithm of the softmax of rows (derived in manual/log_softmax.py, where the letters are).
//
//     y_i = (x_i - m) - log Σ_j exp(x_j - m)           dx_k = dy_k - exp(y_k) Σ_i dy_i
//
// A row is held in registers (rows.cuh), so every number is read and written once.

#include "rows.cuh"

extern "C" __global__ void __launch_bounds__(256)
forward(const T* x, T* y, int M, int C) {
    SHARED(AccumT, scratch);                            // 32
    long long n = blockIdx.x * (long long)blockDim.y + threadIdx.y;
    if (n >= M) return;                                 // a warp that has no row
    AccumT z[ITEMS_PER_THREAD], m = -AccumT(INFINITY_F), sum = 0;
    read_row(z, x + n * C, C);
    UNROLL_FOR(i, ITEMS_PER_THREAD) if (column(i) < C) m = max_(m, z[i]);
    m = row_max(m, scratch);
    UNROLL_FOR(i, ITEMS_PER_THREAD) {
        z[i] -= m;
        if (column(i) < C) sum += exp_(z[i]);
    }
    sum = log_(row_sum(sum, scratch));
    UNROLL_FOR(i, ITEMS_PER_THREAD) z[i] -= sum;
    write_row(y + n * C, z, C);
}

extern "C" __global__ void __launch_bounds__(256)
backward(const T* y, const T* dy, T* dx, int M, int C) {
    SHARED(AccumT, scratch);                            // 32
    long long n = blockIdx.x * (long long)blockDim.y + threadIdx.y;
    if (n >= M) return;
    AccumT l[ITEMS_PER_THREAD], d[ITEMS_PER_THREAD], sum = 0;
    read_row(l, y + n * C, C);
    read_row(d, dy + n * C, C);
    UNROLL_FOR(i, ITEMS_PER_THREAD) sum += d[i];
    sum = row_sum(sum, scratch);
    UNROLL_FOR(i, ITEMS_PER_THREAD) d[i] -= exp_(l[i]) * sum;
    write_row(dx + n * C, d, C);
}
