// cores.h - what kernels know of the processor's cores besides their instruction set. Choices that were measured to differ from
// maker to maker; none changes a bit of a result.
#pragma once

#include "kernels.h"

namespace fastnn {

struct Cores {
  const char* name;
  index_t half_tiles;      // sums of up to so many terms take tiles of half of the registers: one ends while the next one begins
  index_t followed_step;   // values further apart than so many floats are not fetched in time, one after the other
  index_t copied_rows;     // a b whose rows lie badly in the cache is copied for so many rows, or more
  index_t colliding_rows;  // the same where the rows of b evict each other
  index_t gradient_block;  // floats of images that a block of a convolution's filter gradient reads, with few taps
  bool slow_roots;         // a square root takes longer than the multiply-adds of one
};

const Cores& cores();              // those of this processor, unless use_cores() said otherwise
const Cores* known_cores(int i);   // the rows of the table, null behind the last one
bool use_cores(const char* name);  // before the first kernel's scratch is sized; false, and nothing changed, without such a name

}  // namespace fastnn
