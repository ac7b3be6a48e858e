// A table as people have them, made by code: numbers with holes, towns, yes and no, dates.
#ifndef LOCKSTEP_TESTS_TOOLS_PATIENTS_H_
#define LOCKSTEP_TESTS_TOOLS_PATIENTS_H_

#include <cstdio>
#include <string>

#include "engine/base/random.h"

namespace lockstep::inline v0_1::tools {

struct PatientOptions {
  int rows = 200;
  // "ill" (yes and no), "stage" (three classes) or "cost" (numbers about 20000); empty: no target.
  std::string target = "ill";
  bool missing = true;   // some ages and towns
  int towns = 4;         // different ones
  bool strange = false;  // some towns that no other table has
  bool times = false;    // dates have a time of the day, and a column of such times is there
  uint64_t seed = 1;
};

// A CSV file with a header.
inline std::string Patients(const PatientOptions& options) {
  Random random(options.seed, StreamOf("patients"));
  std::string text = std::string("age,town,smoker,seen,weight") + (options.times ? ",wakes" : "") +
                     (options.target.empty() ? "" : "," + options.target) + "\n";
  for (int row = 0; row < options.rows; ++row) {
    const double age = 20.0 + 60.0 * random.Uniform();
    const int town = static_cast<int>(random.Below(static_cast<uint64_t>(options.towns)));
    const bool smokes = random.Uniform() < 0.4;
    const int month = 1 + static_cast<int>(random.Below(12));
    const int day = 1 + static_cast<int>(random.Below(28));
    const int minute = static_cast<int>(random.Below(24 * 60));
    const double weight = 70.0 + 12.0 * random.Normal();
    const double risk = (age - 50.0) / 10.0 + (smokes ? 1.5 : -0.5) + (town % 2 == 0 ? 0.7 : -0.7) +
                        0.3 * random.Normal();
    const bool no_age = options.missing && random.Uniform() < 0.1;
    const bool no_town = options.missing && random.Uniform() < 0.1;
    const bool strange = options.strange && random.Uniform() < 0.2;
    char line[256];
    char time[16] = "";
    if (options.times) std::snprintf(time, sizeof(time), " %02d:%02d", minute / 60, minute % 60);
    std::snprintf(line, sizeof(line), "%s,%s,%s,2020-%02d-%02d%s,%.1f",
                  no_age ? "" : std::to_string(age).c_str(),
                  no_town   ? "NA"
                  : strange ? "Atlantis"
                            : ("town " + std::to_string(town)).c_str(),
                  smokes ? "yes" : "no", month, day, time, weight);
    text += line;
    if (options.times) {
      std::snprintf(time, sizeof(time), ",%d:%02d", 4 + minute / 200, minute % 60);
      text += options.missing && row % 11 == 3 ? "," : time;
    }
    if (options.target == "ill") text += risk > 0.3 ? ",yes" : ",no";
    if (options.target == "stage")
      text += risk > 1.0 ? ",late" : risk > -1.0 ? ",middle" : ",early";
    if (options.target == "cost") text += "," + std::to_string(20000.0 + 3000.0 * risk);
    text += "\n";
  }
  return text;
}

}  // namespace lockstep::tools

#endif  // LOCKSTEP_TESTS_TOOLS_PATIENTS_H_
