// Counts what a program's C++ takes from the heap. MPI is written in C and takes from malloc, so it
// is not counted.
#ifndef LOCKSTEP_TESTS_MPI_ALLOCATIONS_H_
#define LOCKSTEP_TESTS_MPI_ALLOCATIONS_H_

#include <cstdint>

namespace lockstep::inline v0_1 {

int64_t Allocations();  // so far

}  // namespace lockstep

#endif  // LOCKSTEP_TESTS_MPI_ALLOCATIONS_H_
