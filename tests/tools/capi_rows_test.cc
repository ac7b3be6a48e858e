// Rows of a table by the C interface: what `lockstep predict` says of them, and what is refused.
#include <gmock/gmock.h>
#include <lockstep.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <sstream>
#include <string>
#include <vector>

#include "tests/tools/patients.h"
#include "tests/tools/program.h"

namespace lockstep::inline v0_1::tools {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Destroy {
  void operator()(lockstep_model* model) const { lockstep_destroy(model); }
};
using Model = std::unique_ptr<lockstep_model, Destroy>;

std::vector<std::vector<std::string>> Cells(const std::string& text) {
  std::vector<std::vector<std::string>> rows;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    rows.emplace_back();
    std::istringstream in(line);
    for (std::string cell; std::getline(in, cell, ',');) rows.back().push_back(cell);
  }
  return rows;
}

class CapiRows : public Program {
 protected:
  Model Train(const std::string& target, const std::string& more = "") {
    Write("patients.csv", Patients({.rows = 200, .target = target}));
    const Ran ran = Run("train " LOCKSTEP_SOURCE_DIR
                        "/models/recipes/table.toml data.path=patients.csv data.missing=mean "
                        "train.epochs=3 model.hidden=[16] output.folder=run output.report=false " +
                        more);
    EXPECT_EQ(ran.code, 0) << ran.out;
    char why[256];
    lockstep_model* model = nullptr;
    lockstep_options options{};
    options.predict_only = 1;  // as `predict` has it: batch norms are part of the products
    EXPECT_EQ(lockstep_load((folder_ / "run/model.safetensors").c_str(), &options, &model, why,
                            sizeof(why)),
              LOCKSTEP_OK)
        << why;
    return Model(model);
  }
};

TEST_F(CapiRows, AModelOfWeightedRowsLearnsFromSamplesWithoutWeights) {
  Train("ill", "data.weight=weight");
  lockstep_model* loaded = nullptr;
  const lockstep_options options{};
  ASSERT_EQ(
      lockstep_load((folder_ / "run/model.safetensors").c_str(), &options, &loaded, nullptr, 0),
      LOCKSTEP_OK);
  const Model model(loaded);
  const int64_t samples = std::min<int64_t>(8, lockstep_batch(loaded));
  const std::vector<float> x(static_cast<size_t>(samples * lockstep_inputs(loaded)), 0.5f);
  std::vector<float> targets(static_cast<size_t>(samples), 1.0f);
  targets[0] = 0.0f;
  double loss = 0.0;
  EXPECT_EQ(lockstep_train_step(loaded, samples, x.data(), targets.data(), &loss), LOCKSTEP_OK)
      << lockstep_error(loaded);
  EXPECT_GT(loss, 0.0);
}

// One step on all rows: what a run says of it, and what the C interface says.
TEST_F(CapiRows, BalancedClassesWeighAsInARun) {
  std::string table = "a,b,ill\n";
  std::vector<float> x, targets;
  for (int i = 0; i < 60; ++i) {
    const int a = i * 7 % 11 - 5, b = i * 5 % 13 - 6;
    table += std::to_string(a) + "," + std::to_string(b) + (i % 4 == 0 ? ",yes\n" : ",no\n");
    x.push_back(static_cast<float>(a));
    x.push_back(static_cast<float>(b));
    targets.push_back(i % 4 == 0 ? 1.0f : 0.0f);
  }
  Write("t.csv", table);
  const std::string recipe =
      "data.kind = \"csv\"\ndata.path = \"" + (folder_ / "t.csv").string() +
      "\"\ndata.standardize = false\ndata.validation = 0.0\ndata.test = 0.0\n"
      "model.hidden = [8]\ntrain.batch = 60\ntrain.epochs = 1\noutput.report = false\n";
  std::vector<double> losses;
  for (const std::string balanced : {"true", "false"}) {
    Write("r.toml", recipe + "loss.balanced = " + balanced + "\n");
    ASSERT_EQ(Run("train r.toml output.folder=run_" + balanced).code, 0);
    const auto rows = Cells(Read("run_" + balanced + "/metrics.csv"));
    ASSERT_EQ(rows[0][2], "train_loss");
    const double of_run = std::stod(rows[1][2]);
    const lockstep_options options{};
    lockstep_model* made = nullptr;
    char why[256];
    ASSERT_EQ(lockstep_create((folder_ / "r.toml").c_str(), &options, &made, why, sizeof(why)),
              LOCKSTEP_OK)
        << why;
    const Model model(made);
    double loss = NAN;
    ASSERT_EQ(lockstep_train_step(made, 60, x.data(), targets.data(), &loss), LOCKSTEP_OK);
    // The run shuffles the rows: sums of sixty floats in another order.
    EXPECT_NEAR(loss, of_run, 60 * 6e-8 * of_run);
    losses.push_back(loss);
    // They travel with the model as numbers.
    ASSERT_EQ(lockstep_save(made, (folder_ / "saved.safetensors").c_str()), LOCKSTEP_OK);
    EXPECT_EQ(Read("saved.safetensors").find("pos_weight = 3") != std::string::npos,
              balanced == "true");
  }
  EXPECT_GT(losses[0], 1.2 * losses[1]);
  lockstep_options options{};
  options.inputs = 2;
  lockstep_model* none = nullptr;
  char why[256];
  EXPECT_EQ(lockstep_create_from_text("loss.balanced = true", &options, &none, why, sizeof(why)),
            LOCKSTEP_INVALID);
  EXPECT_THAT(why, HasSubstr("give loss.pos_weight"));
}

// A table with its columns in another order and fewer towns: rows mean to the network what they
// meant to the model that its weights are from.
TEST_F(CapiRows, WeightsBringTheirTable) {
  const Model trained = Train("ill");
  Write("few.csv",
        "weight,ill,town,seen,smoker,age\n71,yes,town 2,2020-04-01,yes,50\n"
        "82,no,town 1,2020-05-02,no,41\n64,yes,town 2,2020-07-09,no,77\n");
  Write("r.toml", "data.kind = \"csv\"\ndata.label = \"ill\"\ndata.path = \"" +
                      (folder_ / "few.csv").string() + "\"\nmodel.weights = \"" +
                      (folder_ / "run").string() +
                      "\"\nmodel.hidden = [16]\nmodel.norm = \"batch\"\nmodel.dropout = 0.4\n"
                      "data.validation = 0.0\ndata.test = 0.0\n");
  lockstep_options options{};
  options.predict_only = 1;
  char why[512] = "";
  lockstep_model* made = nullptr;
  ASSERT_EQ(lockstep_create((folder_ / "r.toml").c_str(), &options, &made, why, sizeof(why)),
            LOCKSTEP_OK)
      << why;
  const Model model(made);
  const char* const names[] = {"age", "town", "smoker", "seen", "weight"};
  const char* const texts[] = {"63", "town 3", "no", "2020-11-05", "90.5"};
  double before = NAN, now = NAN;
  int64_t unseen = -1;
  ASSERT_EQ(
      lockstep_predict_row(trained.get(), 5, names, texts, nullptr, &before, nullptr, nullptr),
      LOCKSTEP_OK);
  ASSERT_EQ(lockstep_predict_row(made, 5, names, texts, nullptr, &now, nullptr, &unseen),
            LOCKSTEP_OK)
      << lockstep_error(made);
  EXPECT_EQ(unseen, 0);
  EXPECT_NEAR(now, before, 1e-6);  // a norm may be part of a product or not
}

TEST_F(CapiRows, AnswersAreThoseOfPredict) {
  Write("new.csv", Patients({.rows = 19, .target = "", .strange = true, .seed = 2}));
  const auto rows = Cells(Read("new.csv"));
  for (const std::string target : {"ill", "stage", "cost", "cost loss.kind=quantile"}) {
    fs::remove_all(folder_ / "run");
    const size_t blank = target.find(' ');
    const Model model =
        Train(target.substr(0, blank), blank == std::string::npos ? "" : target.substr(blank + 1));
    ASSERT_EQ(Run("predict run new.csv -o said.csv").code, 0);
    const auto said = Cells(Read("said.csv"));
    const auto answers = static_cast<size_t>(lockstep_answers(model.get()));
    std::vector<const char*> names;
    for (const std::string& name : rows[0]) names.push_back(name.c_str());
    lockstep_predictor* predictor = nullptr;
    lockstep_worker* worker = nullptr;
    ASSERT_EQ(lockstep_predictor_create(model.get(), 1, &predictor, nullptr, 0), LOCKSTEP_OK);
    ASSERT_EQ(lockstep_worker_create(predictor, &worker, nullptr, 0), LOCKSTEP_OK);
    lockstep_predictor_destroy(predictor);
    int64_t strange = 0;
    for (size_t r = 1; r < rows.size(); ++r) {
      std::vector<const char*> texts;
      for (const std::string& cell : rows[r]) texts.push_back(cell.c_str());
      while (texts.size() < names.size()) texts.push_back("");
      std::vector<double> got(answers, NAN);
      int64_t predicted = -2, unseen = -2;
      ASSERT_EQ(lockstep_predict_row(model.get(), static_cast<int64_t>(names.size()), names.data(),
                                     texts.data(), nullptr, got.data(), &predicted, &unseen),
                LOCKSTEP_OK)
          << lockstep_error(model.get());
      std::vector<double> by_worker(answers, NAN);
      int64_t predicted_by_worker = -2, unseen_by_worker = -2;
      ASSERT_EQ(lockstep_worker_predict_row(worker, model.get(), static_cast<int64_t>(names.size()),
                                            names.data(), texts.data(), nullptr, by_worker.data(),
                                            &predicted_by_worker, &unseen_by_worker),
                LOCKSTEP_OK)
          << lockstep_worker_error(worker);
      EXPECT_EQ(by_worker, got);
      EXPECT_EQ(predicted_by_worker, predicted);
      EXPECT_EQ(unseen_by_worker, unseen);
      strange += unseen;
      EXPECT_EQ(unseen, rows[r][1] == "Atlantis" ? 1 : 0);
      for (size_t c = 0; c < said[0].size(); ++c) {
        const std::string& column = said[0][c];
        if (column == "class") {
          if (target == "stage") {
            EXPECT_EQ(said[r][c], lockstep_answer_name(model.get(), predicted));
          } else {
            EXPECT_EQ(said[r][c], predicted == 1 ? "yes" : "no");
          }
          continue;
        }
        for (size_t a = 0; a < answers; ++a) {
          const std::string name = lockstep_answer_name(model.get(), static_cast<int64_t>(a));
          if (column != name && column != "probability of " + name) continue;
          EXPECT_EQ(std::stof(said[r][c]), static_cast<float>(got[a])) << column;
          got[a] = NAN;
        }
      }
      for (const double one : got) EXPECT_TRUE(std::isnan(one));  // each was held against one
      std::vector<double> parts(names.size());
      double told = NAN, usual = NAN;
      ASSERT_EQ(lockstep_explain_row(model.get(), static_cast<int64_t>(names.size()), names.data(),
                                     texts.data(), nullptr, parts.data(), &told, &usual),
                LOCKSTEP_OK);
      EXPECT_NEAR(std::accumulate(parts.begin(), parts.end(), 0.0), told - usual,
                  1e-9 * (1.0 + std::abs(told)));
    }
    EXPECT_GT(strange, 0);
    EXPECT_EQ(lockstep_worker_predict_row(worker, nullptr, 0, nullptr, nullptr, nullptr, nullptr,
                                          nullptr, nullptr),
              LOCKSTEP_INVALID);
    EXPECT_STREQ(lockstep_worker_error(worker), "model is NULL");
    lockstep_worker_destroy(worker);
  }
}

TEST_F(CapiRows, SaysWhatColumnsThereAre) {
  const Model model = Train("ill");
  ASSERT_EQ(lockstep_columns(model.get()), 5);
  EXPECT_STREQ(lockstep_column_name(model.get(), 1), "town");
  EXPECT_EQ(lockstep_column_kind(model.get(), 0), LOCKSTEP_NUMBER);
  EXPECT_EQ(lockstep_column_kind(model.get(), 1), LOCKSTEP_CATEGORY);
  EXPECT_EQ(lockstep_column_kind(model.get(), 2), LOCKSTEP_YES_NO);
  EXPECT_EQ(lockstep_column_kind(model.get(), 3), LOCKSTEP_DATE);
  EXPECT_EQ(lockstep_categories(model.get(), 1), 4);
  EXPECT_STREQ(lockstep_category(model.get(), 1, 3), "town 3");
  EXPECT_EQ(lockstep_answers(model.get()), 1);
  EXPECT_STREQ(lockstep_answer_name(model.get(), 0), "yes");
  for (const int64_t none : {int64_t{-1}, int64_t{5}}) {
    EXPECT_EQ(lockstep_column_name(model.get(), none), nullptr);
    EXPECT_EQ(lockstep_column_kind(model.get(), none), 0);
    EXPECT_EQ(lockstep_categories(model.get(), none), 0);
  }
  EXPECT_EQ(lockstep_category(model.get(), 1, 4), nullptr);
  EXPECT_EQ(lockstep_category(model.get(), 1, -1), nullptr);
  EXPECT_EQ(lockstep_category(model.get(), 0, 0), nullptr);
  EXPECT_EQ(lockstep_answer_name(model.get(), 1), nullptr);
  EXPECT_EQ(lockstep_columns(nullptr), 0);
  EXPECT_EQ(lockstep_answers(nullptr), 0);
  EXPECT_EQ(lockstep_column_name(nullptr, 0), nullptr);
}

TEST_F(CapiRows, NumbersAreTakenInTheOrderTheyAreNamed) {
  const Model model = Train("ill");
  const char* const names[] = {"seen", "weight", "remark", "town", "smoker", "age"};
  const char* const texts[] = {nullptr, nullptr, "tired", "town 2", nullptr, nullptr};
  const double numbers[] = {18353.0, 71.5, 0.0, 0.0, 1.0, NAN};
  double by_number = NAN, by_text = NAN;
  ASSERT_EQ(
      lockstep_predict_row(model.get(), 6, names, texts, numbers, &by_number, nullptr, nullptr),
      LOCKSTEP_OK)
      << lockstep_error(model.get());
  const char* const written[] = {"2020-04-01", "71.5", "tired", "town 2", "yes", ""};
  ASSERT_EQ(
      lockstep_predict_row(model.get(), 6, names, written, nullptr, &by_text, nullptr, nullptr),
      LOCKSTEP_OK)
      << lockstep_error(model.get());
  EXPECT_EQ(by_number, by_text);
}

TEST_F(CapiRows, WhatDoesNotFitIsNamed) {
  const Model model = Train("ill");
  const char* names[] = {"age", "town", "smoker", "seen", "weight"};
  const char* texts[] = {"50", "town 1", "no", "2020-04-01", "80"};
  double answer = 0.25;
  const auto error = [&](int64_t cells, const char* const* of, const char* const* given,
                         double* into) {
    EXPECT_EQ(lockstep_predict_row(model.get(), cells, of, given, nullptr, into, nullptr,
                                   nullptr) == LOCKSTEP_OK,
              false);
    EXPECT_EQ(answer, 0.25);
    return std::string(lockstep_error(model.get()));
  };
  EXPECT_THAT(error(4, names, texts, &answer), HasSubstr("no cell of column \"weight\""));
  EXPECT_THAT(error(5, names, nullptr, &answer), HasSubstr("texts and numbers is NULL"));
  EXPECT_THAT(error(5, nullptr, texts, &answer), HasSubstr("names is NULL"));
  EXPECT_THAT(error(5, names, texts, nullptr), HasSubstr("answers is NULL"));
  EXPECT_THAT(error(-1, names, texts, &answer), HasSubstr("cells is -1"));
  texts[0] = "old";
  EXPECT_THAT(error(5, names, texts, &answer), HasSubstr("\"old\" is not a number"));
  EXPECT_EQ(lockstep_predict_row(nullptr, 0, nullptr, nullptr, nullptr, &answer, nullptr, nullptr),
            LOCKSTEP_INVALID);

  lockstep_options options{};
  options.inputs = 3;
  lockstep_model* plain = nullptr;
  ASSERT_EQ(lockstep_create_from_text("train.seed = 1", &options, &plain, nullptr, 0), LOCKSTEP_OK);
  const Model owned(plain);
  EXPECT_EQ(lockstep_columns(plain), 0);
  EXPECT_EQ(lockstep_predict_row(plain, 5, names, texts, nullptr, &answer, nullptr, nullptr),
            LOCKSTEP_INVALID);
  EXPECT_THAT(lockstep_error(plain), HasSubstr("of no table"));
}

}  // namespace
}  // namespace lockstep::tools
