// Elman's recurrent network, one layer, with tanh. Equations and letters: manual/rnn.py.
//
//     x, dx      (T, B, I)   inputs         W, dW  (H, I)       dh_n  (B, H)      what arrives at the
//     h, da      (T, B, H)   states, ∂L/∂a  U, dU  (H, H)       dout  (T, B, H)   results h_n and out
//     h0         (B, H)      h_{-1}         b      (H,)   the sum of both biases
//
// Sequences are counted by c, up to B. A sequence is a row here, so W x_t is Σ_i W_ji x_tci.
//
// A step needs the step before. The kernels of a launch begin when those of the launch before have
// ended, so `step` and `step_back` are launched for one step at a time, and are given its arrays.
// T is the type of the numbers here; steps are counted by t, up to `steps`.

// h = tanh(W x + U h_prev + b) of a step: a thread computes unit j of sequence c.
extern "C" __global__ void step(const T* x, const T* h_prev, const T* W, const T* U, const T* b,
                                T* h, long long B, long long I, long long H) {
    long long n = blockIdx.x * (long long)blockDim.x + threadIdx.x;         // c H + j
    if (n >= B * H) return;
    long long c = n / H, j = n % H;
    T a = b[j];                                                 // a_t = W x_t + U h_{t-1} + b
    for (long long i = 0; i < I; i++) a += W[j * I + i] * x[c * I + i];
    for (long long k = 0; k < H; k++) a += U[j * H + k] * h_prev[c * H + k];
    h[n] = tanh(a);                                             // h_t = f(a_t)
}

// da of a step. dh is Uᵀ da of the step after it, or dh_n: a thread computes unit j of sequence c.
extern "C" __global__ void step_back(const T* h, const T* dout, const T* dh, T* da, long long B,
                                     long long H) {
    long long n = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (n >= B * H) return;
    da[n] = (1 - h[n] * h[n]) * (dout[n] + dh[n]);              // da_t = f'(a_t) dh_t
}

// What a step hands to the one before it: a thread computes unit k of sequence c.
extern "C" __global__ void to_state(const T* da, const T* U, T* dh, long long B, long long H) {
    long long n = blockIdx.x * (long long)blockDim.x + threadIdx.x;         // c H + k
    if (n >= B * H) return;
    long long c = n / H, k = n % H;
    T sum = 0;
    for (long long j = 0; j < H; j++) sum += U[j * H + k] * da[c * H + j];
    dh[n] = sum;                                                // Uᵀ da_t = Σ_j U_jk da_tcj
}

// A thread computes an element of dx, dx_t = Wᵀ da_t. Here r counts steps and sequences together.
extern "C" __global__ void to_input(const T* da, const T* W, T* dx, long long R, long long I,
                                    long long H) {
    long long n = blockIdx.x * (long long)blockDim.x + threadIdx.x;         // r I + i
    if (n >= R * I) return;
    long long r = n / I, i = n % I;
    T sum = 0;
    for (long long j = 0; j < H; j++) sum += W[j * I + i] * da[r * H + j];
    dx[n] = sum;                                                // dx_ri = Σ_j W_ji da_rj
}

// A thread computes an element of the gradient dM (H, K) of a matrix M that was multiplied by
// z (R, K): dW = Σ_t da_t x_tᵀ, with z = x and K = I, or dU = Σ_t da_t h_{t-1}ᵀ, with z = h_prev and
// K = H.
extern "C" __global__ void to_weights(const T* da, const T* z, T* dM, long long R, long long K,
                                      long long H) {
    long long n = blockIdx.x * (long long)blockDim.x + threadIdx.x;         // j K + k
    if (n >= H * K) return;
    long long j = n / K, k = n % K;
    T sum = 0;
    for (long long r = 0; r < R; r++) sum += da[r * H + j] * z[r * K + k];
    dM[n] = sum;                                                // dM_jk = Σ_r da_rj z_rk
}

// A thread computes an element of db.
extern "C" __global__ void to_bias(const T* da, T* db, long long R, long long H) {
    long long j = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (j >= H) return;
    T sum = 0;
    for (long long r = 0; r < R; r++) sum += da[r * H + j];
    db[j] = sum;                                                // db_j = Σ_t Σ_c da_tcj
}
