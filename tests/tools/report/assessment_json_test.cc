#include "tools/report/assessment_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "tools/report/assessment_text.h"
#include "tools/report/predictions_report.h"

namespace lockstep::inline v0_1::tools {
namespace {

using testing::HasSubstr;

// Of one class only, so that much is undefined.
Assessment OneClass() {
  Assessment all{.reading = Reading::kPositive, .samples = 3, .of = 5, .interval_samples = 2};
  all.scores = {{.name = "auc", .value = NAN},
                {.name = "accuracy", .value = 0.5, .interval = Interval{0.25, 0.75}}};
  all.positives = 3;
  all.outcome = {.true_positives = 2, .false_negatives = 1};
  all.outcomes = {{.threshold = 0.1f, .outcome = {.true_positives = 3}},
                  {.threshold = 0.9f, .outcome = {.false_negatives = 3}}};
  all.calibration = {{.low = 0.5, .high = 0.6, .samples = 3, .said = 0.55, .so = 1.0}};
  all.subgroups = {
      {.column = "site <b>", .groups = {{.name = "Oslo", .samples = 3, .scores = all.scores}}}};
  all.importances = {.score = "accuracy",
                     .value = 0.5,
                     .samples = 3,
                     .repetitions = 5,
                     .columns = {{.column = "age", .mean = 0.25, .sd = 0.125}}};
  return all;
}

TEST(AssessmentJson, HoldsEveryNumberAndNullForWhatIsNotDefined) {
  const auto json = JsonOf(OneClass(), {});
  EXPECT_TRUE(json["scores"]["auc"]["value"].is_null());
  EXPECT_FALSE(json["scores"]["auc"].contains("low"));
  EXPECT_EQ(json["scores"]["accuracy"]["low"], 0.25);
  EXPECT_EQ(json["outcome"]["false_negatives"], 1);
  EXPECT_EQ(json["calibration"][0]["so"], 1.0);
  EXPECT_EQ(json["subgroups"][0]["groups"][0]["name"], "Oslo");
  EXPECT_EQ(json["importance"]["columns"][0]["mean"], 0.25);
  EXPECT_EQ(nlohmann::json::parse(json.dump())["samples"], 3);
}

TEST(AssessmentJson, ScoresByWeightAreToldBeside) {
  Assessment all = OneClass();
  EXPECT_FALSE(JsonOf(all, {}).contains("by_weight"));
  EXPECT_EQ(Describe(all).find("weights"), std::string::npos);
  all.weighted = {{.name = "accuracy", .value = 0.625}, {.name = "log_loss", .value = 0.25}};
  EXPECT_EQ(JsonOf(all, {})["by_weight"]["accuracy"]["value"], 0.625);
  EXPECT_EQ(JsonOf(all, {})["scores"]["accuracy"]["value"], 0.5);
  EXPECT_THAT(Describe(all), HasSubstr("by the samples' weights:\naccuracy "));
  EXPECT_THAT(Describe(all), HasSubstr("62.50 %"));
}

TEST(AssessmentJson, ClassesHaveTheirNamesOrNumbers) {
  Assessment all{.reading = Reading::kOneOf, .samples = 4, .of = 4};
  all.classes = {{.samples = 4, .predicted = 3, .right = 3, .recall = 0.75, .precision = 1.0},
                 {.predicted = 1, .recall = NAN, .precision = 0.0}};
  const auto json = JsonOf(all, {"cat"});
  EXPECT_EQ(json["classes"][0]["name"], "cat");
  EXPECT_EQ(json["classes"][1]["name"], "1");
  EXPECT_TRUE(json["classes"][1]["recall"].is_null());
  EXPECT_TRUE(json["classes"][1]["auc"].is_null());
}

TEST(AssessmentText, SaysWhatWasLookedAtAndNothingOfAPlainDecision) {
  const Assessment all = OneClass();
  const std::string text = Describe(all);
  EXPECT_THAT(text, HasSubstr("50.00 %   25.00 % to 75.00 %"));
  EXPECT_THAT(text, HasSubstr("Of 5 samples 3 are looked at"));
  EXPECT_THAT(text, HasSubstr("draws of 2 samples"));
  EXPECT_THAT(text, HasSubstr("site <b> = Oslo: 3 samples, auc -, accuracy 50.00 %"));
  EXPECT_EQ(AboutDecision({}), "");
  EXPECT_THAT(AboutDecision({.temperature = 1.25f, .threshold = 0.25f}), HasSubstr("1.25"));
}

TEST(AssessmentText, NumbersOfAnySizeKeepFourDigitsOrMore) {
  EXPECT_EQ(ValueText("mae", 0.00001234), "1.234e-05");
  EXPECT_EQ(ValueText("mae", 0.5), "0.5000");
  EXPECT_EQ(ValueText("mae", 123456.0), "123456");
  EXPECT_EQ(ValueText("mae", 1.5e12), "1.5e+12");
  EXPECT_EQ(ValueText("recall", 1.0), "100.00 %");
  EXPECT_EQ(ValueText("auc", NAN), "-");
}

TEST(PredictionsReport, APageOfOneClassHasWhatThereIsAndEscapesNames) {
  Page page("one class");
  AddAssessment(OneClass(), page);
  const std::string html = page.Html();
  EXPECT_THAT(html, HasSubstr("At other thresholds"));
  EXPECT_THAT(html, HasSubstr("site &lt;b&gt;"));
  EXPECT_THAT(html, HasSubstr("Importance by column"));
  EXPECT_EQ(html.find("Receiver operating"), std::string::npos);
  EXPECT_EQ(html.find("nan"), std::string::npos);
}

TEST(PredictionsReport, ARegressionOfEqualErrorsHasOneBar) {
  Assessment all{.reading = Reading::kValues, .samples = 2, .of = 2, .interval_samples = 2};
  all.residuals = {{.least = 1.0,
                    .q05 = 1.0,
                    .median = 1.0,
                    .q95 = 1.0,
                    .most = 1.0,
                    .histogram = {2},
                    .points = {{.index = 0, .truth = 1.0, .predicted = 2.0}},
                    .largest = {{.index = 0, .truth = 1.0, .predicted = 2.0}}}};
  Page page("numbers");
  AddAssessment(all, page);
  EXPECT_THAT(page.Html(), HasSubstr("1 to 1"));
}

}  // namespace
}  // namespace lockstep::tools
