// Dropout (derived in manual/dropout.py, where the letters are).
//
//     y_i = r_i x_i        r_i = [w_i ≥ least] scale        w_i: word number offset + i of the seed
//
// The way back is the same with dy in the place of x: the words are drawn again, which takes less
// time than to keep a mask in memory. A thread draws one block, four words; where `offset` is a
// multiple of 4 the four elements begin at a multiple of 4 as well, and are moved as one. `there`, if
// it is given, is added to the offset: in a step that was recorded, what changes lies in memory.

#include "philox.cuh"

typedef Pack<T, 4> Four;

extern "C" __global__ void forward(const T* x, T* y, long long n, u64 seed, u64 offset,
                                   const u64* there, u64 least, AccumT scale) {
    if (there) offset += *there;
    u64 j = blockIdx.x * (u64)blockDim.x + threadIdx.x;
    Words words = philox(offset / 4 + j, seed);
    long long i = (long long)(4 * j) - (long long)(offset % 4);         // of the first of its words
    if (offset % 4 == 0 && i + 4 <= n && aligned(x, y)) {
        Four f = *reinterpret_cast<const Four*>(x + i);
        for (int k = 0; k != 4; k++)
            store(&f.x[k], load(&f.x[k]) * (words.w[k] >= least ? scale : AccumT(0)));
        *reinterpret_cast<Four*>(y + i) = f;
    } else {
        for (int k = 0; k != 4; k++)
            if (i + k >= 0 && i + k < n)
                store(y + i + k, load(x + i + k) * (words.w[k] >= least ? scale : AccumT(0)));
    }
}
