// What the kernels share. T is the type of the arrays (float, double or bf16), AccumT, of an
// accumulator, that in which sums are kept: float, or double if T is.
//
// Written by hand for the compiler of the GPU (NVRTC, which has no headers of its own here) and for
// emulator/cuda.h, which runs the same text on the CPU. That has its own versions of what is written
// in PTX here, the parts that are not EMULATED.

#pragma once

typedef unsigned int u32;
typedef unsigned long long u64;

#define ALL_LANES 0xffffffffu
#define INFINITY_F __uint_as_float(0x7f800000u)

#ifndef EMULATED
// Shared memory: one piece, of the size given at the launch, cut by pointers.
#define SHARED(type, name)                                                                          \
    extern __shared__ __align__(16) unsigned char shared_memory[];                                  \
    type* name = reinterpret_cast<type*>(shared_memory)
// In a loop that waits for other blocks: to ask all the time would slow down their writes. 20 ns are
// little beside the microsecond or so that a barrier takes.
__device__ inline void back_off() { __nanosleep(20); }
__device__ inline float exp2_(float x) {       // one instruction
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
#endif

// ---- bfloat16: the upper half of a float, rounded to the nearest, ties to even

struct bf16 { unsigned short bits; };

__device__ inline float to_float(bf16 x) { return __uint_as_float(u32(x.bits) << 16); }
__device__ inline bf16 to_bf16(float x) {
    u32 u = __float_as_uint(x);
    if ((u & 0x7fffffffu) > 0x7f800000u) return bf16{0x7fc0};       // nan
    return bf16{(unsigned short)((u + 0x7fffu + (u >> 16 & 1)) >> 16)};
}

// AccumT: float, because sums in bf16 would lose all but 8 bits; for double it is double.
template <class V> struct AccumulatorOf { typedef float type; };
template <> struct AccumulatorOf<double> { typedef double type; };

__device__ inline float load(const float* p) { return *p; }
__device__ inline double load(const double* p) { return *p; }
__device__ inline float load(const bf16* p) { return to_float(*p); }
__device__ inline void store(float* p, float x) { *p = x; }
__device__ inline void store(double* p, double x) { *p = x; }
__device__ inline void store(bf16* p, float x) { *p = to_bf16(x); }

// N numbers moved as one: they lie in memory at a multiple of their size, or of 16 bytes, the most
// that an instruction moves.
template <class V, int N> struct alignas(N * sizeof(V) < 16 ? N * sizeof(V) : 16) Pack {
    V x[N];
};

#ifdef T
typedef AccumulatorOf<T>::type AccumT;

constexpr int MAX_VEC = 16 / sizeof(T);     // numbers that one instruction moves, at most
typedef Pack<T, MAX_VEC> Vec;
#endif

// Do arrays begin at multiples of 16 bytes? Those that CuPy makes do, parts of them may not.
template <class... P> __device__ inline bool aligned(const P*... p) {
    return (reinterpret_cast<u64>(p) | ...) % 16 == 0;
}

// A loop that the compiler writes out, so that arrays indexed by i can be registers, which have no
// index.
#define UNROLL_FOR(i, n) _Pragma("unroll") for (int i = 0; i < (n); i++)

// ---- functions of AccumT

// __expf is 2^(x log₂ e) in two instructions, wrong by 2 + 1.17 |x| units in the last place at most
// (CUDA C++ Programming Guide, "Mathematical functions"). Where |x| is large that is still little:
// with x = -10 it is 2e-6 of a number that is 5e-5 of the largest in its sum.
__device__ inline float exp_(float x) { return __expf(x); }
__device__ inline double exp_(double x) { return exp(x); }
__device__ inline float log_(float x) { return logf(x); }
__device__ inline double log_(double x) { return log(x); }
__device__ inline double exp2_(double x) { return exp2(x); }
__device__ inline float log2_(float x) { return log2f(x); }
__device__ inline double log2_(double x) { return log2(x); }
__device__ inline float tanh_(float x) { return tanhf(x); }
__device__ inline double tanh_(double x) { return tanh(x); }
__device__ inline float erf_(float x) { return erff(x); }
__device__ inline double erf_(double x) { return erf(x); }
__device__ inline float sqrt_(float x) { return sqrtf(x); }
__device__ inline double sqrt_(double x) { return sqrt(x); }
__device__ inline float max_(float a, float b) { return a > b || a != a ? a : b; }     // nan stays
__device__ inline double max_(double a, double b) { return a > b || a != a ? a : b; }
template <class V> __device__ inline V sigmoid_(V x) { return V(1) / (V(1) + exp_(-x)); }

// ---- sums over threads

template <class V> __device__ inline V warp_sum(V x) {
    for (int i = 16; i; i /= 2) x += __shfl_xor_sync(ALL_LANES, x, i);
    return x;
}
template <class V> __device__ inline V warp_max(V x) {
    for (int i = 16; i; i /= 2) x = max_(x, __shfl_xor_sync(ALL_LANES, x, i));
    return x;
}
// Of all threads of a block (blockDim.x, a multiple of 32), for all of them; always in the same
// order. scratch: 32 numbers of shared memory, which can be used again at once.
template <class V> __device__ inline V block_sum(V x, V* scratch) {
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    x = warp_sum(x);
    if (lane == 0) scratch[warp] = x;
    __syncthreads();
    x = warp_sum(lane < warps ? scratch[lane] : V(0));
    __syncthreads();
    return x;
}
template <class V> __device__ inline V block_max(V x, V* scratch) {
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    x = warp_max(x);
    if (lane == 0) scratch[warp] = x;
    __syncthreads();
    x = warp_max(scratch[lane < warps ? lane : 0]);     // a number may come twice: it is no sum
    __syncthreads();
    return x;
}

// ---- a barrier of `blocks` blocks that run at the same time (a cooperative launch)

// count: an unsigned number in global memory, 0 before the launch; round: 1, 2, ... at the first,
// the second, ... call. What was written before is seen by all threads of all blocks after.
__device__ inline void grid_barrier(u32* count, u32 blocks, u32 round) {
    __syncthreads();
    if (threadIdx.x == 0) {
        __threadfence();
        atomicAdd(count, 1u);
        while (*reinterpret_cast<volatile u32*>(count) < blocks * round) back_off();
        __threadfence();
    }
    __syncthreads();
}

#ifndef EMULATED
// ---- copies from global to shared memory that go on beside the arithmetic, 16 bytes a thread

__device__ inline void cp_async(void* to, const void* from) {
    u32 at = static_cast<u32>(__cvta_generic_to_shared(to));
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(at), "l"(from) : "memory");
}
__device__ inline void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int N> __device__ inline void cp_async_wait() {      // until N groups or fewer are left
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

// ---- tensor cores: d += a b of small matrices that the 32 threads of a warp hold together.
//
// With g = lane / 4 and t = lane % 4 a thread holds of (PTX ISA, "Matrix fragments for mma.m16n8k8" and
// "Matrix fragments for mma.m16n8k16 with floating point type")
//     d (16, 8)          rows g, g + 8; columns 2t, 2t + 1:   d[0..3] = d_g,2t  d_g,2t+1  d_g+8,2t ...
//     a (16, 8)  tf32    a[0..3] = a_g,t  a_g+8,t  a_g,t+4  a_g+8,t+4         each a TF32 number in
//     b (8, 8)   tf32    b[0..1] = b_t,g  b_t+4,g                              the bits of a float
//     a (16, 16) bf16    the same with pairs of columns: a_g,2t..2t+1  a_g+8,2t..  a_g,2t+8..  ...
//     b (16, 8)  bf16    b[0..1] = b_2t..2t+1,g  b_2t+8..2t+9,g   the first of a pair in the lower half

// The nearest number with the 10 bits after the point that TF32 has.
__device__ inline u32 to_tf32(float x) {
    u32 u;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(u) : "f"(x));
    return u;
}

// Four matrices of 8 rows of 16 bytes, out of shared memory. The threads 8 i ... 8 i + 7 give the
// rows of matrix i; to[i] is word t of its row g. load_transposed: of bf16, to[i] = (row 2t, row
// 2t + 1) of its column g.
__device__ inline void load_matrices(u32* to, const void* row) {
    u32 at = static_cast<u32>(__cvta_generic_to_shared(row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"(at) : "memory");
}
__device__ inline void load_transposed(u32* to, const void* row) {
    u32 at = static_cast<u32>(__cvta_generic_to_shared(row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"(at) : "memory");
}

// Two neighbours of bf16 in a word.
__device__ inline u32 pack(float first, float second) {
    u32 u;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(u) : "f"(second), "f"(first));
    return u;
}

__device__ inline void mma_tf32(float* d, const u32* a, const u32* b) {
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ inline void mma_bf16(float* d, const u32* a, const u32* b) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
#endif
