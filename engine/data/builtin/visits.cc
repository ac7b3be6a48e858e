#include "engine/data/builtin/visits.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <string_view>

#include "engine/base/portable_math.h"
#include "engine/base/random.h"
#include "engine/data/table/table_cell.h"

namespace lockstep::inline v0_1 {
namespace {

using portable::Exp;
using portable::RoundTo;
using portable::Sigmoid;

constexpr int64_t kMostRows = int64_t{1} << 26;

constexpr std::array<std::string_view, 4> kSites = {"Bergen", "Lyon", "Porto", "Turku"};
constexpr std::array<double, 4> kSiteEffects = {-0.4, 0.3, 0.0, 0.5};
constexpr std::array<std::string_view, 3> kSmokers = {"never", "former", "current"};
constexpr std::array<double, 3> kSmokerEffects = {-0.3, 0.1, 0.8};
constexpr std::array<std::string_view, 6> kWards = {"cardiology", "gastro",  "general",
                                                    "neurology",  "surgery", "trauma"};
constexpr std::array<double, 6> kWardEffects = {0.6, 0.0, 0.2, -0.1, -0.5, -0.8};
constexpr std::array<std::string_view, 10> kDrugs = {
    "amlodipine", "atorvastatin", "bisoprolol", "furosemide",   "insulin",
    "metformin",  "none",         "omeprazole", "prednisolone", "ramipril"};
constexpr std::array<double, 10> kDrugEffects = {0.0, 0.0, 0.2, 0.9, 0.7, 0.2, -0.7, 0.0, 0.5, 0.1};

// What stays the same from visit to visit.
struct Person {
  int64_t number = 0;
  size_t site = 0, smoker = 0;
  bool male = false;
  double age = 0.0, bmi = 0.0;
  double frailty = 0.0;  // what no column shows: why rows of a patient must not be split up
};

Person DrawPerson(int64_t number, Random& random) {
  Person p{.number = number};
  p.site = random.Below(kSites.size());
  p.smoker = random.Below(kSmokers.size());
  p.male = random.Uniform() < 0.5;
  p.age = std::clamp(RoundTo(63.0 + 14.0 * random.Normal(), 1), 19.0, 98.0);
  p.bmi = std::clamp(RoundTo(27.0 + 4.5 * random.Normal(), 10), 15.0, 55.0);
  p.frailty = 0.8 * random.Normal();
  return p;
}

std::string NumberText(double value, int decimals) {
  char text[32];
  std::snprintf(text, sizeof text, "%.*f", decimals, value);
  for (char* c = text; *c != '\0'; ++c) {
    if (*c == ',') *c = '.';  // of a locale
  }
  return text;
}

}  // namespace

Result<VisitsData> MakeVisits(const VisitsOptions& options) {
  if (options.size < 1 || options.size > kMostRows) {
    return Status::Invalid("visits: a table has 1 to " + std::to_string(kMostRows) + " rows, not " +
                           std::to_string(options.size));
  }
  constexpr int64_t kFirstDay = 18993;  // 2022-01-01
  VisitsData data{.header =
                      "patient,visit,site,sex,age,smoker,ward,bmi,systolic,crp,hba1c,medication,"
                      "readmitted",
                  .rows = {},
                  .probability = {}};
  for (int64_t number = 1; static_cast<int64_t>(data.rows.size()) < options.size; ++number) {
    Random random(options.seed, StreamOf("visits") + static_cast<uint64_t>(number));
    const Person p = DrawPerson(number, random);
    const auto visits = static_cast<int64_t>(1 + random.Below(5));
    int64_t day = kFirstDay + static_cast<int64_t>(random.Below(900));
    for (int64_t v = 0; v < visits && static_cast<int64_t>(data.rows.size()) < options.size; ++v) {
      const size_t ward = random.Below(kWards.size()), drug = random.Below(kDrugs.size());
      const double systolic = std::clamp(
          RoundTo(131.0 + 0.3 * (p.age - 63.0) + 17.0 * random.Normal(), 1), 75.0, 230.0);
      const double inflamed = random.Normal();
      const double crp = std::clamp(RoundTo(Exp(1.7 + inflamed), 10), 0.1, 350.0);
      const double hba1c = std::clamp(RoundTo(5.8 + 0.05 * (p.bmi - 27.0) +
                                                  (drug == 4   ? 1.6
                                                   : drug == 5 ? 0.9
                                                               : 0.0) +
                                                  0.6 * random.Normal(),
                                              10),
                                      3.9, 14.0);
      const double pressure = (systolic - 131.0) / 17.0;
      const double log_odds = -1.0 + 0.05 * (p.age - 63.0) + kSiteEffects[p.site] +
                              kSmokerEffects[p.smoker] + kWardEffects[ward] + kDrugEffects[drug] +
                              0.8 * inflamed + 0.35 * (hba1c - 6.0) + 0.3 * pressure * pressure -
                              0.3 + 0.3 * static_cast<double>(v) + p.frailty;
      const double probability = Sigmoid(log_odds);
      const auto perhaps = [&](double missing, const std::string& text) {
        return random.Uniform() < missing ? std::string() : text;
      };
      char patient[24];
      std::snprintf(patient, sizeof patient, "P%05lld", static_cast<long long>(p.number));
      std::string row = patient;
      const auto add = [&](std::string_view text) { row.append(",").append(text); };
      add(DateText(static_cast<double>(day), /*has_time=*/false));
      add(kSites[p.site]);
      add(p.male ? "m" : "f");
      add(NumberText(p.age, 0));
      add(kSmokers[p.smoker]);
      add(kWards[ward]);
      add(perhaps(0.08, NumberText(p.bmi, 1)));
      add(perhaps(0.03, NumberText(systolic, 0)));
      add(perhaps(0.15, NumberText(crp, 1)));
      add(perhaps(0.30, NumberText(hba1c, 1)));
      add(kDrugs[drug]);
      add(random.Uniform() < probability ? "yes" : "no");
      data.rows.push_back(std::move(row));
      data.probability.push_back(probability);
      day += 20 + static_cast<int64_t>(random.Below(200));
    }
  }
  return data;
}

}  // namespace lockstep
