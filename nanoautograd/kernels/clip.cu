// The norm of many gradients together, and the gradients scaled (optim.py, clip_grad_norm_ by the
// Euclidean norm).
//
//     g  a gradient, T               y  where it goes, scaled; T
//     sums  Σ g² of each chunk       norm = √Σ sums,  scale = min(1, max_norm / (norm + 1e-6))
//
// Nobody but the GPU looks at the norm. Sums have one order: of a thread's numbers, of the threads
// of a block, and in `total` of the chunks. nan spreads, as it does on the CPU.

#include "many.cuh"

extern "C" __global__ void squares(Many<1> many, A* sums) {
    SHARED(A, scratch);                                     // 32
    int i = owner(many);
    long long at = (blockIdx.x - many.begin[i]) * CHUNK;
    const T* g = many.x[0][i] + at;
    int n = int(min(many.size[i] - at, (long long)CHUNK)), wide = aligned(g) ? n / WIDE : 0;
    A sum = 0;
    for (int j = threadIdx.x; j < wide; j += blockDim.x) {
        Wide w = reinterpret_cast<const Wide*>(g)[j];
        for (int k = 0; k < WIDE; k++) sum += load(&w.x[k]) * load(&w.x[k]);
    }
    for (int j = wide * WIDE + threadIdx.x; j < n; j += blockDim.x)
        sum += load(g + j) * load(g + j);
    sum = block_sum(sum, scratch);
    if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

extern "C" __global__ void total(const A* sums, A* norm, A* scale, long long chunks, A max_norm) {
    SHARED(A, scratch);                                     // 32; one block
    A sum = 0;
    for (long long c = threadIdx.x; c < chunks; c += blockDim.x) sum += sums[c];
    sum = sqrt_(block_sum(sum, scratch));
    if (threadIdx.x) return;
    A s = max_norm / (sum + A(1e-6));
    *norm = sum;
    *scale = s > 1 ? A(1) : s;
}

extern "C" __global__ void scaled(Many<2> many, const A* scale) {
    int i = owner(many);
    long long at = (blockIdx.x - many.begin[i]) * CHUNK;
    const T* g = many.x[0][i] + at;
    T* y = many.x[1][i] + at;
    int n = int(min(many.size[i] - at, (long long)CHUNK)), wide = aligned(g, y) ? n / WIDE : 0;
    A s = *scale;
    for (int j = threadIdx.x; j < wide; j += blockDim.x) {
        Wide w = reinterpret_cast<const Wide*>(g)[j];
        for (int k = 0; k < WIDE; k++) store(&w.x[k], s * load(&w.x[k]));
        reinterpret_cast<Wide*>(y)[j] = w;
    }
    for (int j = wide * WIDE + threadIdx.x; j < n; j += blockDim.x) store(y + j, s * load(g + j));
}
