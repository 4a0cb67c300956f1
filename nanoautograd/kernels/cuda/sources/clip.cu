// The norm of many gradients together, and the gradients scaled (optim/clipping.py, clip_grad_norm_
// by the Euclidean norm).
//
//     g  a gradient, T               y  where it goes, scaled; T
//     norms  √Σ g² of each chunk     norm = √Σ norms²,  scale = min(1, max_norm / (norm + 1e-6))
//
// Nobody but the GPU looks at the norm. Sums have one order: of a thread's numbers, of the threads
// of a block, and in `total` of the chunks. nan spreads, as it does on the CPU.

#include "many.cuh"

__device__ inline AccumT abs_(AccumT x) { return x < 0 ? -x : x; }

// √sum, where that is the sum of the squares of n numbers x; if it is out of range, their
// √Σ (|x| / max |x|)² · max |x|. Called by, and for, all threads of a block.
template <class V> __device__ inline AccumT root(AccumT sum, const V* x, long long n, AccumT* scratch) {
    bool is_in_range = sum > AccumT(1e-24) && sum < AccumT(INFINITY_F);   // below, squares may vanish
    if (is_in_range) return sqrt_(sum);
    AccumT top = 0;
    for (long long j = threadIdx.x; j < n; j += blockDim.x) top = max_(top, abs_(load(x + j)));
    top = block_max(top, scratch);
    if (!(top > 0 && top < AccumT(INFINITY_F))) return top;
    sum = 0;
    for (long long j = threadIdx.x; j < n; j += blockDim.x) {
        AccumT y = load(x + j) / top;
        sum += y * y;
    }
    return top * sqrt_(block_sum(sum, scratch));
}

extern "C" __global__ void chunk_norms(Many<1> many, AccumT* norms) {
    SHARED(AccumT, scratch);                                // 32
    int i = owner(many);
    long long at = (blockIdx.x - many.begin[i]) * CHUNK_SIZE;
    const T* g = many.x[0][i] + at;
    int n = int(min(many.size[i] - at, (long long)CHUNK_SIZE));
    int vecs = aligned(g) ? n / MAX_VEC : 0;
    AccumT sum = 0;
    for (int j = threadIdx.x; j < vecs; j += blockDim.x) {
        Vec w = reinterpret_cast<const Vec*>(g)[j];
        for (int k = 0; k < MAX_VEC; k++) sum += load(&w.x[k]) * load(&w.x[k]);
    }
    for (int j = vecs * MAX_VEC + threadIdx.x; j < n; j += blockDim.x)
        sum += load(g + j) * load(g + j);
    AccumT norm = root(block_sum(sum, scratch), g, n, scratch);
    if (threadIdx.x == 0) norms[blockIdx.x] = norm;
}

extern "C" __global__ void total(const AccumT* norms, AccumT* norm, AccumT* scale, long long chunks,
                                 AccumT max_norm) {
    SHARED(AccumT, scratch);                                // 32; one block
    AccumT sum = 0;
    for (long long c = threadIdx.x; c < chunks; c += blockDim.x) sum += norms[c] * norms[c];
    sum = root(block_sum(sum, scratch), norms, chunks, scratch);
    if (threadIdx.x) return;
    AccumT s = max_norm / (sum + AccumT(1e-6));
    *norm = sum;
    *scale = s > 1 ? AccumT(1) : s;
}

extern "C" __global__ void scaled(Many<2> many, const AccumT* scale) {
    int i = owner(many);
    long long at = (blockIdx.x - many.begin[i]) * CHUNK_SIZE;
    const T* g = many.x[0][i] + at;
    T* y = many.x[1][i] + at;
    int n = int(min(many.size[i] - at, (long long)CHUNK_SIZE));
    int vecs = aligned(g, y) ? n / MAX_VEC : 0;
    AccumT s = *scale;
    for (int j = threadIdx.x; j < vecs; j += blockDim.x) {
        Vec w = reinterpret_cast<const Vec*>(g)[j];
        for (int k = 0; k < MAX_VEC; k++) store(&w.x[k], s * load(&w.x[k]));
        reinterpret_cast<Vec*>(y)[j] = w;
    }
    for (int j = vecs * MAX_VEC + threadIdx.x; j < n; j += blockDim.x) store(y + j, s * load(g + j));
}
