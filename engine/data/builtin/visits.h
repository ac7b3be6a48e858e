// Built-in data: visits to four hospitals as a table that looks like those of hospitals, with
// words, dates, missing values and several rows of a patient.
//
// A pure function of the options, the same text on every machine; a row does not depend on `size`.
#ifndef LOCKSTEP_ENGINE_DATA_BUILTIN_VISITS_H_
#define LOCKSTEP_ENGINE_DATA_BUILTIN_VISITS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/status.h"

namespace lockstep::inline v0_1 {

struct VisitsOptions {
  uint64_t seed = 1;
  int64_t size = 2000;  // rows
};

struct VisitsData {
  std::string header;
  std::vector<std::string> rows;    // comma-separated, without an end of line
  std::vector<double> probability;  // of "yes" in the last column
};

// The columns: patient (several visits of one follow each other), visit (a date), site, sex, age,
// smoker, ward, bmi, systolic, crp, hba1c (the last four partly missing), medication, and whether
// the patient was readmitted within a month: the outcome.
Result<VisitsData> MakeVisits(const VisitsOptions& options = {});

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_BUILTIN_VISITS_H_
