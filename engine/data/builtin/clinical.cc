#include "engine/data/builtin/clinical.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "engine/base/portable_math.h"
#include "engine/base/random.h"

namespace lockstep::inline v0_1 {
namespace {

using portable::Exp;
using portable::Log;
using portable::RoundTo;
using portable::Sigmoid;

constexpr int64_t kFeatures = 20;
constexpr int64_t kMostRows = int64_t{1} << 26;

// In the order of the columns. Every value is rounded as an instrument would show it.
struct Patient {
  double age, male, bmi, pack_years;
  double systolic_bp, diastolic_bp, heart_rate, temperature, oxygen_saturation;
  double glucose, creatinine, sodium, potassium, hemoglobin, white_cells, crp, albumin;
  double cholesterol, vitamin_d, thyrotropin;
};

constexpr std::array<const char*, kFeatures> kNames = {
    "age",          "male",       "bmi",         "pack_years",        "systolic_bp",
    "diastolic_bp", "heart_rate", "temperature", "oxygen_saturation", "glucose",
    "creatinine",   "sodium",     "potassium",   "hemoglobin",        "white_cells",
    "crp",          "albumin",    "cholesterol", "vitamin_d",         "thyrotropin"};

// Hidden causes (inflammation, metabolism, volume) make the measurements correlate. Nothing but the
// measurements enters the outcome.
Patient DrawPatient(Random& random) {
  const double inflammation = random.Normal();
  const double metabolism = random.Normal();
  const auto normal = [&](double mean, double sd) { return mean + sd * random.Normal(); };
  const auto within = [](double x, double low, double high) { return std::clamp(x, low, high); };

  Patient p{};
  p.age = within(RoundTo(normal(60.0, 15.0), 1), 18.0, 97.0);
  const double za = (p.age - 60.0) / 15.0;
  p.male = random.Uniform() < 0.52 ? 1.0 : 0.0;
  p.bmi = within(RoundTo(normal(27.0 + 3.0 * metabolism, 3.5), 10), 14.0, 60.0);
  const bool smoker = random.Uniform() < 0.3 + 0.1 * p.male;
  const double years = Exp(normal(2.6 + 0.2 * za, 0.7));
  p.pack_years = smoker ? within(RoundTo(years, 1), 1.0, 120.0) : 0.0;
  p.systolic_bp =
      within(RoundTo(normal(128.0 + 5.0 * za + 4.0 * metabolism, 17.0), 1), 65.0, 230.0);
  p.diastolic_bp =
      within(RoundTo(normal(78.0 + 0.35 * (p.systolic_bp - 128.0), 7.0), 1), 35.0, 140.0);
  p.heart_rate = within(RoundTo(normal(78.0 + 6.0 * inflammation, 12.0), 1), 38.0, 180.0);
  p.temperature = within(RoundTo(normal(36.9 + 0.35 * inflammation, 0.4), 10), 34.0, 41.5);
  p.oxygen_saturation =
      within(RoundTo(normal(96.0 - 0.8 * inflammation - 0.03 * p.pack_years, 1.8), 1), 75.0, 100.0);
  p.glucose = within(RoundTo(Exp(normal(4.7 + 0.15 * metabolism, 0.2)), 1), 45.0, 600.0);
  p.creatinine =
      within(RoundTo(Exp(normal(-0.15 + 0.12 * za + 0.15 * p.male, 0.3)), 100), 0.3, 9.0);
  p.sodium = within(RoundTo(normal(139.0, 4.0), 1), 115.0, 160.0);
  p.potassium = within(RoundTo(normal(4.2 + 0.3 * (p.creatinine - 1.0), 0.5), 10), 2.0, 7.5);
  p.hemoglobin = within(RoundTo(normal(12.6 + 1.5 * p.male - 0.3 * za, 1.5), 10), 5.0, 20.0);
  p.white_cells = within(RoundTo(Exp(normal(2.0 + 0.2 * inflammation, 0.25)), 10), 1.0, 60.0);
  p.crp = within(RoundTo(Exp(normal(1.6 + 0.9 * inflammation, 0.7)), 10), 0.1, 400.0);
  p.albumin = within(RoundTo(normal(4.0 - 0.2 * inflammation, 0.35), 10), 1.5, 5.5);
  p.cholesterol = within(RoundTo(normal(195.0 + 8.0 * metabolism, 38.0), 1), 80.0, 400.0);
  p.vitamin_d = within(RoundTo(Exp(normal(3.2, 0.45)), 1), 4.0, 120.0);
  p.thyrotropin = within(RoundTo(Exp(normal(0.6, 0.55)), 100), 0.05, 20.0);
  return p;
}

// Bounded so that no single measurement decides alone: u^2 / (1 + u^2 / 8).
double BoundedSquare(double u) { return u * u / (1.0 + u * u / 8.0); }

// The log odds of the outcome. Straight effects, effects that rise to both sides of a normal value,
// and effects whose direction depends on another measurement: only the first kind is open to a
// linear model.
double LogOdds(const Patient& p) {
  const double age = (p.age - 60.0) / 15.0;
  const double bmi = (p.bmi - 27.0) / 4.6;
  const double pressure = (p.systolic_bp - 128.0) / 18.5;
  const double heat = (p.temperature - 36.9) / 0.53;
  const double oxygen = (p.oxygen_saturation - 95.8) / 2.0;
  const double glucose = (Log(p.glucose) - 4.7) / 0.25;
  const double kidney = (Log(p.creatinine) + 0.07) / 0.34;
  const double sodium = (p.sodium - 139.0) / 4.0;
  const double potassium = (p.potassium - 4.2) / 0.52;
  const double blood = (p.hemoglobin - 13.4) / 1.7;
  const double crp = (Log(p.crp) - 1.6) / 1.14;
  const double albumin = (p.albumin - 4.0) / 0.4;
  const double smoke = p.pack_years / (p.pack_years + 15.0);

  const double straight =
      1.0 * age + 0.6 * crp - 0.65 * albumin + 0.5 * kidney - 0.35 * oxygen + 0.2 * glucose;
  const double both_sides = 0.8 * (BoundedSquare(sodium) - 0.8) +
                            0.4 * (BoundedSquare(potassium) - 0.8) +
                            0.2 * (BoundedSquare(bmi) - 0.8);
  const double mixed = -0.85 * age * pressure + 0.35 * heat * crp -
                       0.5 * (p.male == 1.0 ? 1.0 : -0.6) * blood - 0.5 * smoke * oxygen;
  return 1.2 * (straight + both_sides + mixed) - 1.3;
}

std::array<float, kFeatures> Row(const Patient& p) {
  const std::array<double, kFeatures> values = {
      p.age,          p.male,       p.bmi,         p.pack_years,        p.systolic_bp,
      p.diastolic_bp, p.heart_rate, p.temperature, p.oxygen_saturation, p.glucose,
      p.creatinine,   p.sodium,     p.potassium,   p.hemoglobin,        p.white_cells,
      p.crp,          p.albumin,    p.cholesterol, p.vitamin_d,         p.thyrotropin};
  std::array<float, kFeatures> row{};
  std::transform(values.begin(), values.end(), row.begin(),
                 [](double value) { return static_cast<float>(value); });
  return row;
}

// The chance that a random positive has the higher probability of the two, where sample i is
// positive with weight[i] and negative with 1 - weight[i]; equal probabilities count half. NaN
// unless there are both.
double Auc(const std::vector<std::pair<double, double>>& ascending) {
  double negatives_below = 0.0, concordant = 0.0, positives = 0.0, self = 0.0;
  for (size_t i = 0; i < ascending.size();) {
    double group_positive = 0.0, group_negative = 0.0;
    const double probability = ascending[i].first;
    for (; i < ascending.size() && ascending[i].first == probability; ++i) {
      const double weight = ascending[i].second;
      group_positive += weight;
      group_negative += 1.0 - weight;
      self += weight * (1.0 - weight);  // a sample does not pair with itself
    }
    concordant += group_positive * (negatives_below + 0.5 * group_negative);
    negatives_below += group_negative;
    positives += group_positive;
  }
  return (concordant - 0.5 * self) / (positives * negatives_below - self);
}

}  // namespace

Result<ClinicalData> MakeClinical(const ClinicalOptions& options) {
  if (options.size < 1 || options.size > kMostRows) {
    return Status::Invalid("clinical: the number of rows must be 1 to " +
                           std::to_string(kMostRows) + ", not " + std::to_string(options.size));
  }
  const auto size = static_cast<size_t>(options.size);
  std::vector<float> x;
  x.reserve(size * kFeatures);
  std::vector<float> outcomes(size);
  ClinicalData data;
  data.probability.resize(size);
  for (size_t i = 0; i < size; ++i) {
    Random random(options.seed, StreamOf("clinical") + i);
    const Patient patient = DrawPatient(random);
    const std::array<float, kFeatures> row = Row(patient);
    x.insert(x.end(), row.begin(), row.end());
    data.probability[i] = Sigmoid(LogOdds(patient));
    outcomes[i] = random.Uniform() < data.probability[i] ? 1.0f : 0.0f;
  }
  DatasetInfo info{.name = "clinical",
                   .size = options.size,
                   .x_shape = {kFeatures},
                   .task = Task::kBinary,
                   .target_dtype = DType::kF32,
                   .target_shape = {1},
                   .feature_names = {kNames.begin(), kNames.end()},
                   .class_names = {"no event", "event"}};
  LOCKSTEP_TRY_ASSIGN(data.dataset,
                      InMemoryDataset::Make(std::move(info), std::move(x), std::move(outcomes)));
  return data;
}

Result<BestPossible> BestPossibleScores(const ClinicalData& data,
                                        std::span<const int64_t> indices) {
  std::vector<std::pair<double, double>> drawn, expected;  // (probability, weight)
  BestPossible best;
  for (const int64_t index : indices) {
    if (index < 0 || index >= data.dataset->size()) {
      return Status::Invalid("clinical: there is no sample " + std::to_string(index));
    }
    const double p = data.probability[static_cast<size_t>(index)];
    const double y = *data.dataset->StoredTarget(index).f32();
    drawn.emplace_back(p, y);
    expected.emplace_back(p, p);
    best.drawn_log_loss -= y == 1.0 ? Log(p) : Log(1.0 - p);
    best.expected_log_loss -= p * Log(p) + (1.0 - p) * Log(1.0 - p);
    best.drawn_accuracy += (p >= 0.5) == (y == 1.0) ? 1.0 : 0.0;
    best.expected_accuracy += std::max(p, 1.0 - p);
  }
  const auto positives = std::count_if(drawn.begin(), drawn.end(),
                                       [](const auto& sample) { return sample.second == 1.0; });
  if (positives == 0 || positives == static_cast<int64_t>(drawn.size())) {
    return Status::Invalid(
        "clinical: the best possible scores need samples of both outcomes, got " +
        std::to_string(positives) + " events in " + std::to_string(drawn.size()) + " samples");
  }
  const auto count = static_cast<double>(drawn.size());
  best.drawn_log_loss /= count;
  best.expected_log_loss /= count;
  best.drawn_accuracy /= count;
  best.expected_accuracy /= count;
  std::sort(drawn.begin(), drawn.end());
  std::sort(expected.begin(), expected.end());
  best.drawn_auc = Auc(drawn);
  best.expected_auc = Auc(expected);
  return best;
}

}  // namespace lockstep
