// Many arrays of any sizes in one launch. A model has many small parameters, and to launch a kernel
// for each takes longer than to compute it. So up to MAX_PARAMETERS of them go into one launch, as a
// table that is an argument, by value; their elements are cut into chunks of CHUNK_SIZE, and a block
// has one.

#pragma once

#include "common.cuh"

template <int ARRAYS> struct Many {
    T* x[ARRAYS][MAX_PARAMETERS];       // x[a][i]: the array a of parameter i (its gradient, ...)
    long long size[MAX_PARAMETERS];     // elements of each of its arrays, one or more
    long long begin[MAX_PARAMETERS];    // chunks of those before it, so the number of its first
    long long row[MAX_PARAMETERS];      // of options, where they have some
};
static_assert(sizeof(Many<1>) == 4 * 8 * MAX_PARAMETERS, "as many.py makes it");

// Whose the chunk of this block is: the last i with begin[i] <= blockIdx.x, found by halving. `begin`
// grows from i to i; of the places that no parameter has it is the number of all chunks, more than
// any blockIdx.x.
template <int ARRAYS> __device__ inline int owner(const Many<ARRAYS>& many) {
    int i = 0;
    for (int half = MAX_PARAMETERS / 2; half; half /= 2)
        if (many.begin[i + half] <= blockIdx.x) i += half;
    return i;
}
