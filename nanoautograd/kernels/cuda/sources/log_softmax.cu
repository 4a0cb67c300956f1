// Logarithm of the softmax of rows (derived in manual/log_softmax.py, where the letters are).
//
//     y_i = (x_i - m) - log Σ_j exp(x_j - m)           dx_k = dy_k - exp(y_k) Σ_i dy_i
//
// A row is held in registers (rows.cuh), so every number is read and written once.

#include "rows.cuh"

extern "C" __global__ void __launch_bounds__(256)
forward(const T* x, T* y, int M, int C) {
    SHARED(A, scratch);                                 // 32
    long long n = blockIdx.x * (long long)blockDim.y + threadIdx.y;
    if (n >= M) return;                                 // a warp that has no row
    A z[HELD], m = -A(INFINITE), sum = 0;
    read_row(z, x + n * C, C);
    EACH(i, HELD) if (column(i) < C) m = max_(m, z[i]);
    m = row_max(m, scratch);
    EACH(i, HELD) {
        z[i] -= m;
        if (column(i) < C) sum += exp_(z[i]);
    }
    sum = log_(row_sum(sum, scratch));
    EACH(i, HELD) z[i] -= sum;
    write_row(y + n * C, z, C);
}

extern "C" __global__ void __launch_bounds__(256)
backward(const T* y, const T* dy, T* dx, int M, int C) {
    SHARED(A, scratch);                                 // 32
    long long n = blockIdx.x * (long long)blockDim.y + threadIdx.y;
    if (n >= M) return;
    A l[HELD], d[HELD], sum = 0;
    read_row(l, y + n * C, C);
    read_row(d, dy + n * C, C);
    EACH(i, HELD) sum += d[i];
    sum = row_sum(sum, scratch);
    EACH(i, HELD) d[i] -= exp_(l[i]) * sum;
    write_row(dx + n * C, d, C);
}
