// Logarithm of the softmax of rows (derived in manual/log_softmax.py, where the letters are; n counts the
// N rows).
//
//     y_i = (x_i - m) - log Σ_j exp(x_j - m)           dx_k = dy_k - exp(y_k) Σ_i dy_i
//
// A row is held in registers (rows.cuh), so every number is read and written once.

#include "rows.cuh"

extern "C" __global__ void __launch_bounds__(256)
forward(const T* x, T* y, int N, int C) {
    SHARED(AccumT, scratch);                            // 32
    long long n = blockIdx.x * (long long)blockDim.y + threadIdx.y;
    if (n >= N) return;                                 // a warp that has no row
    AccumT z[ITEMS_PER_THREAD], m = -AccumT(INFINITY_F), Z = 0;
    read_row(z, x + n * C, C);
    UNROLL_FOR(i, ITEMS_PER_THREAD) if (column(i) < C) m = max_(m, z[i]);
    m = row_max(m, scratch);
    UNROLL_FOR(i, ITEMS_PER_THREAD) {
        z[i] -= m;
        if (column(i) < C) Z += exp_(z[i]);
    }
    AccumT log_Z = log_(row_sum(Z, scratch));
    UNROLL_FOR(i, ITEMS_PER_THREAD) z[i] -= log_Z;
    write_row(y + n * C, z, C);
}

extern "C" __global__ void __launch_bounds__(256)
backward(const T* y, const T* dy, T* dx, int N, int C) {
    SHARED(AccumT, scratch);                            // 32
    long long n = blockIdx.x * (long long)blockDim.y + threadIdx.y;
    if (n >= N) return;
    AccumT y_n[ITEMS_PER_THREAD], d[ITEMS_PER_THREAD], sum = 0;        // d: dy, and then dx
    read_row(y_n, y + n * C, C);
    read_row(d, dy + n * C, C);
    UNROLL_FOR(i, ITEMS_PER_THREAD) sum += d[i];
    sum = row_sum(sum, scratch);
    UNROLL_FOR(i, ITEMS_PER_THREAD) d[i] -= exp_(y_n[i]) * sum;
    write_row(dx + n * C, d, C);
}
