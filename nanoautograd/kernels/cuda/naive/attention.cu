// Attention of N queries to S keys, in each of B heads. Equations and letters: manual/attention.py;
// as T is the type of the numbers here, queries are counted by n, up to N. Without dropout W = P and
// dW = dP. The gradient do is called d_o, because `do` is a word of C.
//
//     q, dq  (B, N, d)      o, d_o  (B, N, e)      P, dA  (B, N, S)
//     k, dk  (B, S, d)      v, dv   (B, S, e)      c      what scores are multiplied by
//
// Query n of head b begins at the number (b N + n) d of q. If `causal`, it sees the keys s <= n only,
// and P = 0 elsewhere.

// A thread computes a row of P, and of o. The scores A have their place in P, until they become P.
extern "C" __global__ void forward(const T* q, const T* k, const T* v, T* P, T* o, long long B,
                                   long long N, long long S, long long d, long long e, T c,
                                   int causal) {
    long long row = blockIdx.x * (long long)blockDim.x + threadIdx.x;       // b N + n
    if (row >= B * N) return;
    long long b = row / N, n = row % N;
    long long seen = causal && n + 1 < S ? n + 1 : S;
    const T *q_n = q + row * d, *k_b = k + b * S * d, *v_b = v + b * S * e;
    T* P_n = P + row * S;

    for (long long s = 0; s < seen; s++) {
        T dot = 0;
        for (long long i = 0; i < d; i++) dot += q_n[i] * k_b[s * d + i];
        P_n[s] = c * dot;                                       // A_ns = c Σ_i q_ni k_si
    }
    T m = P_n[0];                                               // m_n = max_s A_ns
    for (long long s = 1; s < seen; s++)
        if (P_n[s] > m) m = P_n[s];
    T Z = 0;                                                    // Z_n = Σ_s exp(A_ns - m_n)
    for (long long s = 0; s < seen; s++) Z += exp(P_n[s] - m);
    for (long long s = 0; s < S; s++)                           // P_ns = exp(A_ns - m_n) / Z_n
        P_n[s] = s < seen ? exp(P_n[s] - m) / Z : 0;
    for (long long i = 0; i < e; i++) {
        T sum = 0;
        for (long long s = 0; s < S; s++) sum += P_n[s] * v_b[s * e + i];
        o[row * e + i] = sum;                                   // o_ni = Σ_s P_ns v_si
    }
}

// A thread computes a row of dA. What is dP at first becomes dA.
extern "C" __global__ void backward_scores(const T* P, const T* v, const T* d_o, T* dA, long long B,
                                           long long N, long long S, long long e) {
    long long row = blockIdx.x * (long long)blockDim.x + threadIdx.x;       // b N + n
    if (row >= B * N) return;
    const T *P_n = P + row * S, *d_o_n = d_o + row * e, *v_b = v + row / N * S * e;
    T* dA_n = dA + row * S;

    for (long long s = 0; s < S; s++) {
        T sum = 0;
        for (long long i = 0; i < e; i++) sum += d_o_n[i] * v_b[s * e + i];
        dA_n[s] = sum;                                          // dP_ns = Σ_i do_ni v_si
    }
    T D = 0;                                                    // D_n = Σ_s dP_ns P_ns
    for (long long s = 0; s < S; s++) D += dA_n[s] * P_n[s];
    for (long long s = 0; s < S; s++)
        dA_n[s] = P_n[s] * (dA_n[s] - D);                       // dA_ns = P_ns (dP_ns - D_n)
}

// A thread computes an element of dq.
extern "C" __global__ void backward_queries(const T* dA, const T* k, T* dq, long long B,
                                            long long N, long long S, long long d, T c) {
    long long j = blockIdx.x * (long long)blockDim.x + threadIdx.x;         // (b N + n) d + i
    if (j >= B * N * d) return;
    long long i = j % d, row = j / d, b = row / N;
    T sum = 0;
    for (long long s = 0; s < S; s++) sum += dA[row * S + s] * k[(b * S + s) * d + i];
    dq[j] = c * sum;                                            // dq_ni = c Σ_s dA_ns k_si
}

// A thread computes an element of dk.
extern "C" __global__ void backward_keys(const T* dA, const T* q, T* dk, long long B, long long N,
                                         long long S, long long d, T c) {
    long long j = blockIdx.x * (long long)blockDim.x + threadIdx.x;         // (b S + s) d + i
    if (j >= B * S * d) return;
    long long i = j % d, s = j / d % S, b = j / d / S;
    T sum = 0;
    for (long long n = 0; n < N; n++) sum += dA[(b * N + n) * S + s] * q[(b * N + n) * d + i];
    dk[j] = c * sum;                                            // dk_si = c Σ_n dA_ns q_ni
}

// A thread computes an element of dv.
extern "C" __global__ void backward_values(const T* P, const T* d_o, T* dv, long long B,
                                           long long N, long long S, long long e) {
    long long j = blockIdx.x * (long long)blockDim.x + threadIdx.x;         // (b S + s) e + i
    if (j >= B * S * e) return;
    long long i = j % e, s = j / e % S, b = j / e / S;
    T sum = 0;
    for (long long n = 0; n < N; n++) sum += P[(b * N + n) * S + s] * d_o[(b * N + n) * e + i];
    dv[j] = sum;                                                // dv_si = Σ_n P_ns do_ni
}
