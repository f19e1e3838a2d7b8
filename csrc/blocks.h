// blocks.h - aligned blocks of memory: what kernels write, and their scratch.
#pragma once

#include <cstddef>

namespace fastnn {

constexpr std::size_t kAlignment = 64;

// An aligned block, to be given back with its size; a large one lies in huge pages where the system has them. Throws
// std::bad_alloc.
void* allocate_block(std::size_t bytes);
void free_block(void* block, std::size_t bytes);

}  // namespace fastnn
