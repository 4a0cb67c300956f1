// The random words of backends/philox.py, where the derivation and the letters are.

#pragma once
#include "common.cuh"

struct Words {
    u32 w[4];
};

// The block number `block` of a seed: its words with the numbers 4 block ... 4 block + 3.
__device__ inline Words philox(u64 block, u64 seed) {
    u32 c0 = u32(block), c1 = u32(block >> 32), c2 = 0, c3 = 0, k0 = u32(seed), k1 = u32(seed >> 32);
    for (int round = 0; round < 10; round++) {
        u64 p0 = u64(0xD2511F53u) * c0, p1 = u64(0xCD9E8D57u) * c2;
        c0 = u32(p1 >> 32) ^ c1 ^ k0;
        c1 = u32(p1);
        c2 = u32(p0 >> 32) ^ c3 ^ k1;
        c3 = u32(p0);
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return Words{{c0, c1, c2, c3}};
}
