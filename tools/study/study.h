// Studies: what is said of batch normalisation, as experiments that a user can run and see.
//
// A study trains small networks (or only looks into them) over several seeds, records what it
// measured, and holds it against what is claimed. Its verdict follows from the numbers alone: each
// check is a comparison of measured values, and the claim holds if all checks are met, in part if
// some are, not if none is.
#ifndef LOCKSTEP_TOOLS_STUDY_STUDY_H_
#define LOCKSTEP_TOOLS_STUDY_STUDY_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "engine/base/status.h"
#include "models/recipe.h"
#include "tools/report/page.h"

namespace lockstep::inline v0_1::tools {

using Settings = std::vector<std::string>;  // key=value, as on the command line

// What one seed of one case left.
struct Outcome {
  // The loss or a gradient became infinite or NaN. Such a run counts as guessing: the accuracy is
  // 1 / classes and the loss ln(classes).
  bool diverged = false;
  std::vector<double> step_loss{};                // of every step, in training mode
  double train_loss = 0.0, train_accuracy = 0.0;  // of the end, in evaluation mode
  double test_loss = 0.0, test_accuracy = 0.0;
  std::map<std::string, std::vector<double>> more{};  // what a Watch found
};

// What the networks of a study are, which is what its own settings say (Lab refuses others).
inline bool IsCnn(const Recipe& recipe) {
  return std::holds_alternative<CnnFamily>(recipe.model.family);
}
inline const MlpFamily& MlpOf(const Recipe& recipe) {
  return std::get<MlpFamily>(recipe.model.family);
}

// Looks into a run: after every epoch (counted from 1), and once more at its end. It may use the
// network as it likes if it leaves parameters and states as they were.
struct Look {
  Context& ctx;
  Network& net;
  const Recipe& recipe;
  int64_t epoch = 0;
  bool end = false;
  Outcome& outcome;
};
using Watch = std::function<Status(const Look&)>;

struct Study;

// Where a study's networks are trained. Trials run side by side, each on one thread; what they give
// depends on neither the number of threads nor the order.
class Lab {
 public:
  // Study::fixed comes first, then what the user overrides; Study::varied are the keys that cases set,
  // which a user may not. Seeds are those of initial weights and shuffling: train.seed and the ones after
  // it. With data.size, sums and data from files are cut to so many samples, and a fifth for testing.
  static Result<Lab> Make(const Study& study, const Settings& overrides, int64_t seeds);

  int64_t seeds() const { return seeds_; }
  const Recipe& recipe() const { return recipe_; }  // without what cases set
  const RecipeData& data() const { return data_; }
  int64_t classes() const;
  Result<Recipe> RecipeOf(const Settings& settings, int64_t seed) const;

  // Networks are bound for at least so many samples: for a Watch with batches of its own.
  void BindFor(int64_t samples) { room_ = samples; }
  // Networks that no recipe says: of case `which`, for batches of `samples`.
  using Build = std::function<Result<Network>(Context& ctx, const Recipe& recipe, size_t which,
                                              int64_t samples)>;
  void BuildBy(Build build) { build_ = std::move(build); }

  // outcomes[case][seed].
  Result<std::vector<std::vector<Outcome>>> Train(std::span<const Settings> cases,
                                                  const Watch& watch = {}) const;
  // The same without training: `look` sees the network as it begins.
  Result<std::vector<std::vector<Outcome>>> Inspect(std::span<const Settings> cases,
                                                    const Watch& look) const;

 private:
  Result<std::vector<std::vector<Outcome>>> Run(std::span<const Settings> cases, bool train,
                                                const Watch& watch) const;
  Status Trial(const Recipe& recipe, size_t which, bool train, const Watch& watch,
               Outcome& outcome) const;

  std::string name_;
  Settings settings_;
  Recipe recipe_;
  RecipeData data_;
  int64_t seeds_ = 1;
  int64_t room_ = 1;
  Build build_;  // null: as the recipe says
};

// Samples side by side, as a network takes them.
class Samples {
 public:
  static Result<Samples> Gather(const Dataset& dataset, std::span<const int64_t> indices);
  ConstTensor x() const { return {x_.data(), x_dtype_, x_shape_}; }
  ConstTensor target() const { return {target_.data(), target_dtype_, target_shape_}; }
  int64_t count() const { return x_shape_.batch(); }

 private:
  std::vector<std::byte> x_, target_;
  Shape x_shape_, target_shape_;
  DType x_dtype_ = DType::kF32, target_dtype_ = DType::kF32;
};
// `count` different ones of `from`, drawn by (seed, draw).
std::vector<int64_t> Draw(std::span<const int64_t> from, int64_t count, uint64_t seed,
                          uint64_t draw);

// `sample` first, then `batch` - 1 others of `from`.
std::vector<int64_t> BesideOthers(int64_t sample, std::span<const int64_t> from, int64_t batch,
                                  uint64_t seed, uint64_t draw);

// How much the outputs for one sample vary with the samples beside it in a batch of `batch`, in
// training mode, as a share of how much outputs vary between samples. Of `probes` samples, each
// in as many draws.
Status NoiseOfOutputs(const Look& at, const Subset& data, int64_t batch, int64_t probes,
                      double& noise);

struct Spread {
  double mean = 0.0, sd = 0.0, low = 0.0, high = 0.0;  // sd of the sample; smallest, largest
  double standard_error = 0.0;
};
Spread SpreadOf(std::span<const double> values);
double Median(std::vector<double> values);
// Of the cases [begin, end), the one that learned its training samples best: with the least
// training loss, over all seeds.
size_t LearnedBest(const std::vector<std::vector<Outcome>>& outcomes, size_t begin, size_t end);
// Above zero, and by more than twice its standard error; with one value: above zero.
bool ClearlyPositive(std::span<const double> differences);
std::vector<double> Difference(std::span<const double> a, std::span<const double> b);

std::string Percent(std::span<const double> shares);  // "93.1 ± 0.4 %": mean and sd
std::string Number(std::span<const double> values);   // "0.312 ± 0.010"
std::string Number(double value);                     // three figures

// What a study found: rows for the table, charts, checks, remarks.
class Findings {
 public:
  struct Row {
    std::string metric, arm;       // what was measured, on which kind of network
    double x = 0.0;                // the setting that varies
    std::vector<double> values{};  // one for each seed
  };
  struct Check {
    bool met = false;
    std::string claim{};     // what should be seen
    std::string measured{};  // what was
  };

  void Add(const std::string& metric, const std::string& arm, double x,
           std::vector<double> values) {
    rows_.push_back({metric, arm, x, std::move(values)});
  }
  // One value from each seed's outcome.
  void Add(const std::string& metric, const std::string& arm, double x,
           std::span<const Outcome> outcomes, const std::function<double(const Outcome&)>& value);
  const std::vector<double>& Values(const std::string& metric, const std::string& arm,
                                    double x) const;

  // A line for each arm through the means of `metric`, with a band from the smallest to the largest
  // seed. `chart` says the rest.
  void Plot(const std::string& metric, Chart chart);
  void Expect(bool met, std::string claim, std::string measured) {
    checks_.push_back({met, std::move(claim), std::move(measured)});
  }
  void Remark(std::string text) { remarks_.push_back(std::move(text)); }
  // Rows of this metric go to the files and the charts only: too many to read.
  void LeaveOutOfTable(const std::string& metric) { unlisted_.push_back(metric); }

  const std::vector<Row>& rows() const { return rows_; }
  const std::vector<Check>& checks() const { return checks_; }
  const std::vector<Chart>& charts() const { return charts_; }
  bool Listed(const Row& row) const;
  std::string Verdict() const;  // "holds", "holds in part", "does not hold"
  // The verdict, what was seen, and what was not.
  std::string Paragraph(const std::string& claim) const;

 private:
  std::vector<Row> rows_;
  std::vector<Check> checks_;
  std::vector<Chart> charts_;
  std::vector<std::string> remarks_, unlisted_;
};

struct Study {
  std::string name;     // "b1"
  bool cnn = false;     // the form of it that --cnn asks for: convolutional networks on pictures
  std::string claim;    // one sentence
  std::string method;   // what is done, on which data, with which networks
  std::string x_label;  // what Findings::Row::x is
  Settings fixed;       // the study's own settings; users may override them
  Settings varied;      // keys that the cases set
  Status (*run)(Lab& lab, Findings& findings);

  std::string FileName() const { return name + (cnn ? "_cnn" : ""); }
};

// One file each, tools/study/NAME.cc.
Study StudyB1();
Study StudyB2();
Study StudyB3();
Study StudyB4();
Study StudyB5();
Study StudyB5Cnn();
Study StudyL4();
Study StudyLn();
Study StudyM1();
Study StudyM1Cnn();
Study StudyM2();
Study StudyM3();
Study StudyM4();

}  // namespace lockstep::tools

#endif  // LOCKSTEP_TOOLS_STUDY_STUDY_H_
