// Checks of layers, operations, losses and optimizers that were written outside of the library:
// #include <lockstep/testing.h>. They need no test framework.
//
//   const checks::CheckReport report = checks::CheckLayer(Highway(Linear(5)), {24, 5});
//   if (!report.ok()) std::puts(report.ToString().c_str());
#ifndef LOCKSTEP_MODELS_TESTING_TESTING_H_
#define LOCKSTEP_MODELS_TESTING_TESTING_H_

// IWYU pragma: begin_exports
#include "models/testing/check_layer.h"
#include "models/testing/check_loss.h"
#include "models/testing/check_optimizer.h"
#include "models/testing/gradient_check.h"
#include "models/testing/report.h"
#include "models/testing/subject_checks.h"
#include "models/testing/trace.h"
// IWYU pragma: end_exports

#endif  // LOCKSTEP_MODELS_TESTING_TESTING_H_
