// What a program takes from the heap, by the name that tests know it by. Include in one file of a
// program only.
#ifndef LOCKSTEP_TESTS_ENGINE_TRAIN_COUNT_HEAP_H_
#define LOCKSTEP_TESTS_ENGINE_TRAIN_COUNT_HEAP_H_

#include "models/testing/count_heap.h"

namespace lockstep::inline v0_1::toy {
using lockstep::checks::HeapCalls;
using lockstep::checks::kCountsHeap;
}  // namespace lockstep::toy

#endif  // LOCKSTEP_TESTS_ENGINE_TRAIN_COUNT_HEAP_H_
