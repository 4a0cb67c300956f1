// CUDA C on the CPU: enough of the language that g++ builds the kernels of this package as they
// stand, and runs them slowly, but watched.
//
// A CUDA thread is a fiber: a stack of its own, in one thread of the system. It runs until it waits
// (__syncthreads, a shuffle, a barrier of the grid) or ends; then another one that is ready goes on,
// which one a random number says. On a GPU any order can happen. A kernel that lacks a barrier is
// right in some orders only, so after a few seeds it is found out.
//
//     a thread that waits for ever              error, with the number of those that arrived
//     a barrier that some threads never reach   error: on a GPU it may hang, or go on too early
//     shared memory that was never written      is full of bits that are nan
//     cp.async that was not waited for          has not been copied yet
//     an index out of range                     found by AddressSanitizer, if it is built with that
//
// A block runs to its end before another begins, in random order; in a cooperative launch all run
// together. `run` is what is called from outside.

#pragma once

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif
#if !defined(__x86_64__)
#include <ucontext.h>
#endif
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#define EMULATED 1
#define __global__
#define __device__
#define __launch_bounds__(...)

typedef uint32_t u32;                           // as in common.cuh

struct uint3 { unsigned x, y, z; };
struct dim3 { unsigned x = 1, y = 1, z = 1; };
struct alignas(8) float2 { float x, y; };
inline float2 make_float2(float x, float y) { return {x, y}; }

static uint3 threadIdx, blockIdx;               // of the fiber that runs
static dim3 blockDim, gridDim;

namespace emulator {

constexpr size_t STACK = 1 << 16;
constexpr size_t PATIENCE = 10000000;

struct Block;
struct Fiber {
    Block* block;
    unsigned thread;                            // number in the block
    char* stack;
#if defined(__x86_64__)
    void* top;                                  // of the stack, while it does not run
#else
    ucontext_t context;
#endif
    void* fake = nullptr;                       // AddressSanitizer's
    bool ended = false;
    std::vector<std::vector<std::function<void()>>> copies;     // cp.async: groups, the last open
};
struct Meeting {                                // threads that wait for one another
    unsigned mask = 0;                          // lanes; for a block not used
    std::vector<Fiber*> arrived;
};
struct Warp {
    std::vector<Meeting> meetings;              // one for each mask in use
    alignas(16) char slots[32][32];             // what each lane shows the others: 24 bytes for mma
};
struct Block {
    uint3 index;
    unsigned size;
    Meeting all;
    std::vector<Warp> warps;
    char* shared = nullptr;
};

static std::mt19937_64 dice;
static bool in_order;
static std::vector<Fiber*> ready;
static Fiber* current;
static Fiber home;                              // the caller of `run`
static std::function<void()> kernel;
static std::string problem;
static size_t pauses;

inline void fail(const std::string& text) {
    if (problem.empty()) {
        char where[120];
        snprintf(where, sizeof where, " (block %u,%u,%u, thread %u,%u,%u)", blockIdx.x, blockIdx.y,
                 blockIdx.z, threadIdx.x, threadIdx.y, threadIdx.z);
        problem = text + where;
    }
}

#if defined(__x86_64__)
// From a stack to another. A callee must preserve six registers and the stack pointer: it pushes the
// six onto the stack that it was called on, below the return address, and keeps the pointer in *from;
// it takes `to` as the pointer, pops six registers, and returns to the address that lies there. So
// this call returns when somebody switches back to *from, and a stack that waits looks like this:
//
//     to -> r15 r14 r13 r12 rbx rbp, return address          addresses grow to the right
extern "C" __attribute__((visibility("hidden"))) void emulator_switch(void** from, void* to);
asm(R"(
.text
.hidden emulator_switch
.globl emulator_switch
.type emulator_switch, @function
emulator_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size emulator_switch, .-emulator_switch
)");
#endif

#if defined(__SANITIZE_ADDRESS__)
static const void* home_bottom;                 // where the caller's stack is
static size_t home_size;
#endif

inline void go(Fiber* from, Fiber* to) {
#if defined(__SANITIZE_ADDRESS__)
    bool home_is_next = to == &home;
    __sanitizer_start_switch_fiber(from->ended ? nullptr : &from->fake,
                                   home_is_next ? home_bottom : to->stack,
                                   home_is_next ? home_size : STACK);
#endif
#if defined(__x86_64__)
    emulator_switch(&from->top, to->top);
#else
    swapcontext(&from->context, &to->context);
#endif
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(from->fake, nullptr, nullptr);
#endif
}

inline void wait() { go(current, &home); }       // until somebody puts it among the ready

inline void body() {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(nullptr, &home_bottom, &home_size);
#endif
    kernel();
    current->ended = true;
    go(current, &home);
}

inline void start(Fiber* f) {
#if defined(__x86_64__)
    // As if `body` had called emulator_switch before its first line: the first switch returns into
    // it. There the pointer has to be 8 more than a multiple of 16, as after any call, which has
    // pushed an address to return to: for that there is null. The registers may hold anything.
    void** top = reinterpret_cast<void**>(f->stack + STACK);
    *--top = nullptr;
    *--top = reinterpret_cast<void*>(&body);
    f->top = top - 6;
#else
    getcontext(&f->context);
    f->context.uc_stack.ss_sp = f->stack;
    f->context.uc_stack.ss_size = STACK;
    makecontext(&f->context, &body, 0);
#endif
}

inline void release(Meeting& m) {
    std::vector<Fiber*> all;
    all.swap(m.arrived);
    for (Fiber* f : all) ready.push_back(f);
}

// Wait until `count` threads of the meeting have come.
inline void meet(Meeting& m, size_t count) {
    m.arrived.push_back(current);
    if (m.arrived.size() == count) release(m);
    wait();
}

inline Warp& warp() { return current->block->warps[current->thread / 32]; }
inline unsigned lane() { return current->thread % 32; }

inline void meet_warp(unsigned mask) {
    unsigned first = current->thread / 32 * 32, lanes = std::min(32u, current->block->size - first);
    if (lanes < 32) mask &= (1u << lanes) - 1;   // the last warp of a block may be shorter
    if (!(mask >> lane() & 1)) return fail("a thread is not in the mask that it gives");
    auto& meetings = warp().meetings;
    size_t i = 0;
    while (i < meetings.size() && meetings[i].mask != mask) i++;
    if (i == meetings.size()) { meetings.emplace_back(); meetings[i].mask = mask; }
    meet(meetings[i], __builtin_popcount(mask));
}

// The values of all lanes of the warp, for each of them.
template <class V> std::array<V, 32> shown(V value, unsigned mask = 0xffffffffu) {
    auto& slots = warp().slots;
    static_assert(sizeof value <= sizeof slots[0]);
    std::array<V, 32> all;
    memcpy(slots[lane()], &value, sizeof value);
    meet_warp(mask);
    for (int i = 0; i < 32; i++) memcpy(&all[i], slots[i], sizeof value);
    meet_warp(mask);
    return all;
}

inline char* shared() { return current->block->shared; }

inline void run_together(std::vector<Block>& blocks, size_t shared_bytes) {
    static std::vector<char*> stacks;
    std::vector<Fiber> fibers;
    size_t n = 0;
    for (Block& b : blocks) n += b.size;
    fibers.resize(n);
    while (stacks.size() < n) stacks.push_back(static_cast<char*>(aligned_alloc(4096, STACK)));
    size_t i = 0;
    ready.clear();
    for (Block& b : blocks) {
        b.warps.resize((b.size + 31) / 32);
        b.shared = static_cast<char*>(malloc(shared_bytes + 1));    // + 1: none is no null pointer
        memset(b.shared, 0xff, shared_bytes);
        for (unsigned t = 0; t < b.size; t++, i++) {
            fibers[i].block = &b;
            fibers[i].thread = t;
            fibers[i].stack = stacks[i];
            start(&fibers[i]);
            ready.push_back(&fibers[i]);
        }
    }
    if (in_order) std::reverse(ready.begin(), ready.end());
    size_t left = n;
    while (left && problem.empty()) {
        if (ready.empty()) {
            for (Block& b : blocks)
                if (!b.all.arrived.empty()) {
                    fail("a barrier was reached by " + std::to_string(b.all.arrived.size()) + " of " +
                         std::to_string(b.size) + " threads, the others ended or wait elsewhere");
                }
            fail("threads wait for others of their warp that never come");
            break;
        }
        if (!in_order) std::swap(ready[dice() % ready.size()], ready.back());
        current = ready.back();
        ready.pop_back();
        unsigned t = current->thread;
        blockIdx = current->block->index;
        threadIdx = {t % blockDim.x, t / blockDim.x % blockDim.y, t / blockDim.x / blockDim.y};
        go(&home, current);
        left -= current->ended;
    }
    for (Block& b : blocks) free(b.shared);
}

// One launch. Returns null, or what went wrong.
inline const char* run(const std::function<void()>& f, const unsigned* grid, const unsigned* block,
                       size_t shared_bytes, bool cooperative, uint64_t seed) {
    kernel = f;
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    dice.seed(seed);
    in_order = seed == 0;
    problem.clear();
    pauses = 0;
    std::vector<Block> blocks;
    for (unsigned z = 0; z < grid[2]; z++)
        for (unsigned y = 0; y < grid[1]; y++)
            for (unsigned x = 0; x < grid[0]; x++) {
                blocks.emplace_back();
                blocks.back().index = {x, y, z};
                blocks.back().size = block[0] * block[1] * block[2];
            }
    if (!in_order) std::shuffle(blocks.begin(), blocks.end(), dice);
    if (cooperative) {
        run_together(blocks, shared_bytes);
    } else {
        for (size_t i = 0; i < blocks.size() && problem.empty(); i++) {
            std::vector<Block> one;
            one.push_back(std::move(blocks[i]));
            run_together(one, shared_bytes);
        }
    }
    return problem.empty() ? nullptr : problem.c_str();
}

}  // namespace emulator

// ---- what waits

inline void __syncthreads() {
    emulator::meet(emulator::current->block->all, emulator::current->block->size);
}
inline void __syncwarp(unsigned mask = 0xffffffffu) { emulator::meet_warp(mask); }
inline void __threadfence() {}
inline void __threadfence_system() {}

template <class V> V __shfl_xor_sync(unsigned mask, V value, int with) {
    unsigned from = emulator::lane() ^ with;
    if (!(mask >> from & 1)) emulator::fail("a shuffle reads a lane outside of its mask");
    return emulator::shown(value, mask)[from];
}

// ---- atomics: one fiber runs at a time

template <class V, class W> V atomicAdd(V* to, W v) { V old = *to; *to = old + V(v); return old; }
template <class V, class W> V atomicExch(V* to, W v) { V old = *to; *to = V(v); return old; }
template <class V> V atomicCAS(V* to, V if_it_is, V v) {
    V old = *to;
    if (old == if_it_is) *to = v;
    return old;
}

// ---- arithmetic

#define __expf expf
template <class V> V __ldcg(const V* p) { return *p; }
inline unsigned __float_as_uint(float x) { unsigned u; memcpy(&u, &x, 4); return u; }
inline float __uint_as_float(unsigned u) { float x; memcpy(&x, &u, 4); return x; }
using std::max;
using std::min;

// ---- what common.cuh says in PTX, the instructions of a GPU

#define SHARED(type, name) type* name = reinterpret_cast<type*>(emulator::shared())

inline float exp2_(float x) { return exp2f(x); }

inline void back_off() {                           // in a loop that waits for another block
    if (++emulator::pauses > emulator::PATIENCE) emulator::fail("another block is waited for in vain");
    emulator::ready.insert(emulator::ready.begin(), emulator::current);
    emulator::wait();
}

// Copies are made when they are waited for, not before.
inline void cp_async(void* to, const void* from) {
    auto& copies = emulator::current->copies;
    if (copies.empty()) copies.emplace_back();
    copies.back().push_back([=] { memcpy(to, from, 16); });
}
inline void cp_async_commit() { emulator::current->copies.emplace_back(); }
template <int N> inline void cp_async_wait() {
    auto& copies = emulator::current->copies;
    while (copies.size() > N + 1) {
        for (auto& copy : copies.front()) copy();
        copies.erase(copies.begin());
    }
}

inline u32 to_tf32(float x) {
    u32 u = __float_as_uint(x);
    return (u & 0x7f800000u) == 0x7f800000u ? u : (u + 0x1000u) & ~0x1fffu;
}
inline u32 pack(float first, float second) {
    auto rounded = [](float x) {
        u32 u = __float_as_uint(x);
        return x != x ? 0x7fc0 : (u + 0x7fff + (u >> 16 & 1)) >> 16;
    };
    return rounded(first) | rounded(second) << 16;
}

inline void load_matrices(u32* to, const void* row) {
    auto rows = emulator::shown(row);
    unsigned g = emulator::lane() / 4, t = emulator::lane() % 4;
    for (int i = 0; i < 4; i++) to[i] = static_cast<const u32*>(rows[8 * i + g])[t];
    __syncwarp();                               // nobody writes there before all have read
}
inline void load_transposed(u32* to, const void* row) {
    auto rows = emulator::shown(row);
    unsigned g = emulator::lane() / 4, t = emulator::lane() % 4;
    auto of = [&](unsigned row) { return u32(static_cast<const uint16_t*>(rows[row])[g]); };
    for (int i = 0; i < 4; i++) to[i] = of(8 * i + 2 * t) | of(8 * i + 2 * t + 1) << 16;
    __syncwarp();
}

namespace emulator {

struct Operands {
    u32 a[4], b[2];
};

// d += a b, with so many numbers in a register (where they are: common.cuh). A row of a and a column
// of b are 8 registers long: of 4 lanes, and then of the same 4 once more.
template <int NUMBERS, class F> void mma(float* d, const u32* a, const u32* b, F number) {
    auto all = shown(Operands{{a[0], a[1], a[2], a[3]}, {b[0], b[1]}});
    for (int i = 0; i < 4; i++) {
        int row = lane() / 4 + i / 2 * 8, column = lane() % 4 * 2 + i % 2;
        for (int k = 0; k < 8 * NUMBERS; k++) {
            int word = k / NUMBERS, from = word % 4;
            d[i] += number(all[row % 8 * 4 + from].a[word / 4 * 2 + row / 8], k) *
                    number(all[column * 4 + from].b[word / 4], k);
        }
    }
}

}  // namespace emulator

inline void mma_tf32(float* d, const u32* a, const u32* b) {
    emulator::mma<1>(d, a, b, [](u32 u, int) { return __uint_as_float(u & ~0x1fffu); });
}
inline void mma_bf16(float* d, const u32* a, const u32* b) {
    emulator::mma<2>(d, a, b, [](u32 u, int k) {
        return __uint_as_float(k % 2 ? u & ~0xffffu : u << 16);
    });
}
