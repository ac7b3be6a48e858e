// The checks that every network must pass, whatever it is made of.
//
//   "gradients"    those of the parameters and of x, against differences of the loss
//   "accumulation" a pass overwrites gradients, and adds where it is asked to
//   "repeats"      the same run gives the same bits
//   "threads"      so do 1, 2 and 7 threads, with 1 shard of the batch and with 3
//   "memory"       so do memory that is shared and not shared, and poison (NaN) in what a step may
//                  find: nothing is read that this step did not write, or that is gone by then
//   "fusion"       so do operations that do their neighbours' work and operations by themselves
//   "evaluation"   predictions and evaluations repeat, and change neither the network nor what
//                  training does next; a sample gets the same bits alone as among others
//   "allocations"  a step takes nothing from the heap (where CheckOptions::heap_calls is given)
//   "files"        a network that is read from its file predicts and learns as the one written
#ifndef LOCKSTEP_MODELS_TESTING_SUBJECT_CHECKS_H_
#define LOCKSTEP_MODELS_TESTING_SUBJECT_CHECKS_H_

#include <string>

#include "models/testing/report.h"
#include "models/testing/trace.h"

namespace lockstep::inline v0_1::checks {

// `samples_mix`: in evaluation, too, what a sample gives depends on the others of its batch.
void CheckSubject(const Subject& subject, const std::string& where, const CheckOptions& options,
                  bool samples_mix, CheckLog& log);

}  // namespace lockstep::checks

#endif  // LOCKSTEP_MODELS_TESTING_SUBJECT_CHECKS_H_
