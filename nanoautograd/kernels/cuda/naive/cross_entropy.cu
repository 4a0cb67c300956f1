// Softmax and cross entropy of N rows of C scores with class numbers. Equations and letters:
// manual/cross_entropy.py.
//
//     x  (N, C)  scores          y    (N,)  class numbers       g   (N,)    ∂L/∂ℓ
//     Z  (N,)    Σ exp(x - m)    ell  (N,)  losses ℓ            dx  (N, C)  ∂L/∂x
//     m  (N,)    largest scores
//
// Row n begins at the number n C of x.

// A thread computes the loss of a row.
extern "C" __global__ void forward(const T* x, const long long* y, T* m, T* Z, T* ell,
                                   long long N, long long C) {
    long long n = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (n >= N) return;
    T m_n = x[n * C];                                           // m_n = max_c x_nc
    for (long long c = 1; c < C; c++)
        if (x[n * C + c] > m_n) m_n = x[n * C + c];
    T Z_n = 0;                                                  // Z_n = Σ_c exp(x_nc - m_n)
    for (long long c = 0; c < C; c++) Z_n += exp(x[n * C + c] - m_n);
    T log_p = x[n * C + y[n]] - m_n - log(Z_n);                 // log p_nc = x_nc - m_n - log Z_n
    ell[n] = -log_p;                                            // ℓ_n = -log p_ny
    m[n] = m_n;
    Z[n] = Z_n;
}

// A thread computes an element of dx.
extern "C" __global__ void backward(const T* x, const long long* y, const T* m, const T* Z,
                                    const T* g, T* dx, long long N, long long C) {
    long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (i >= N * C) return;
    long long n = i / C, k = i % C;
    T p = exp(x[i] - m[n]) / Z[n];                              // p_nk = exp(x_nk - m_n) / Z_n
    dx[i] = g[n] * (p - (k == y[n] ? 1 : 0));                   // dx_nk = g_n (p_nk - [k = y_n])
}
