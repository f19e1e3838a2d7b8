// blocks.cpp - see blocks.h.
#include "blocks.h"

#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace fastnn {
namespace {

// With pages of 4 kB a kernel that reads much and computes little also waits for their addresses: the sum of two arrays of 8 MB
// takes 15 % longer. NumPy asks for huge pages from the same size on.
constexpr std::size_t kHugePage = std::size_t{2} << 20, kLargeBlock = 2 * kHugePage;

std::align_val_t alignment(std::size_t bytes) { return std::align_val_t{bytes >= kLargeBlock ? kHugePage : kAlignment}; }

}  // namespace

void* allocate_block(std::size_t bytes) {
  void* block = ::operator new(bytes, alignment(bytes));
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  if (bytes >= kLargeBlock) madvise(block, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
#endif
  return block;
}

void free_block(void* block, std::size_t bytes) { ::operator delete(block, alignment(bytes)); }

}  // namespace fastnn
