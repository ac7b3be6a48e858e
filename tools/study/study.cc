// lockstep study: runs studies, prints what they found, and writes index.html, results.csv and
// results.json.
#include "tools/study/study.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "engine/io/file.h"
#include "engine/io/nearest_name.h"
#include "engine/io/text.h"
#include "models/recipe_choice.h"
#include "tools/command/commands.h"

namespace lockstep::inline v0_1::tools {
namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

std::vector<Study> Studies() {
  return {StudyB1(), StudyB2(), StudyB3(),    StudyB4(), StudyB5(), StudyM1(),   StudyM2(),
          StudyM3(), StudyM4(), StudyB5Cnn(), StudyL4(), StudyLn(), StudyM1Cnn()};
}

struct FinishedStudy {
  const Study& study;
  const Lab& lab;
  const Findings& findings;
  double seconds;
};

// One metric: a row for each kind of network, a column for each setting.
struct Table {
  std::string metric;
  std::vector<double> settings{};
  std::vector<std::string> arms{};
  std::vector<std::vector<std::string>> cells{};  // of arms[i]; empty where nothing was measured
};

std::vector<Table> Tables(const Findings& findings) {
  std::vector<Table> tables;
  for (const Findings::Row& row : findings.rows()) {
    if (!findings.Listed(row)) continue;
    auto table = std::find_if(tables.begin(), tables.end(),
                              [&](const Table& t) { return t.metric == row.metric; });
    if (table == tables.end()) table = tables.insert(tables.end(), {.metric = row.metric});
    auto column = std::find(table->settings.begin(), table->settings.end(), row.x);
    if (column == table->settings.end())
      column = table->settings.insert(table->settings.end(), row.x);
    auto arm = std::find(table->arms.begin(), table->arms.end(), row.arm);
    if (arm == table->arms.end()) {
      arm = table->arms.insert(table->arms.end(), row.arm);
      table->cells.emplace_back();
    }
    auto& cells = table->cells[static_cast<size_t>(arm - table->arms.begin())];
    const auto place = static_cast<size_t>(column - table->settings.begin());
    cells.resize(std::max(cells.size(), place + 1));
    cells[place] = Number(row.values);
  }
  for (Table& table : tables) {
    for (auto& cells : table.cells) cells.resize(table.settings.size());
  }
  return tables;
}

void Print(const FinishedStudy& ran, const std::string& folder) {
  fmt::print("\n{}: {}\n{}\n", ran.study.FileName(), ran.study.claim, ran.study.method);
  for (const Table& table : Tables(ran.findings)) {
    fmt::print("\n{}: mean ± deviation over {} seed(s)\n", table.metric, ran.lab.seeds());
    if (table.settings.size() > 1) fmt::print("{:>24}", ran.study.x_label);
    for (size_t i = 0; table.settings.size() > 1 && i < table.settings.size(); ++i)
      fmt::print("  {:>17}", Number(table.settings[i]));
    if (table.settings.size() > 1) fmt::print("\n");
    for (size_t a = 0; a < table.arms.size(); ++a) {
      fmt::print("{:>24}", table.arms[a]);
      for (const std::string& cell : table.cells[a]) fmt::print("  {:>17}", cell);
      fmt::print("\n");
    }
  }
  fmt::print("\n");
  for (const Findings::Check& check : ran.findings.checks())
    fmt::print("{:<3}  {}: {}\n", check.met ? "yes" : "no", check.claim, check.measured);
  fmt::print("\n{}\n\n{} seed(s), {:.1f} s; {}/index.html, results.csv, results.json\n",
             ran.findings.Paragraph(ran.study.claim), ran.lab.seeds(), ran.seconds, folder);
  std::fflush(stdout);
}

std::string CsvCell(const std::string& text) { return "\"" + text + "\""; }

std::string Csv(const FinishedStudy& ran) {
  std::string csv = "measured,network,setting,seed,value\n";
  for (const Findings::Row& row : ran.findings.rows()) {
    for (size_t seed = 0; seed < row.values.size(); ++seed) {
      csv += fmt::format("{},{},{},{},{}\n", CsvCell(row.metric), CsvCell(row.arm), TextOf(row.x),
                         ran.lab.recipe().train.seed + static_cast<int64_t>(seed),
                         TextOf(row.values[seed]));
    }
  }
  return csv;
}

std::string JsonText(const FinishedStudy& ran) {
  Json json;
  json["study"] = ran.study.FileName();
  json["claim"] = ran.study.claim;
  json["verdict"] = ran.findings.Verdict();
  json["paragraph"] = ran.findings.Paragraph(ran.study.claim);
  json["method"] = ran.study.method;
  json["setting"] = ran.study.x_label;
  json["seeds"] = ran.lab.seeds();
  json["seconds"] = ran.seconds;
  json["recipe"] = PrintRecipe(ran.lab.recipe());
  for (const Findings::Check& check : ran.findings.checks())
    json["checks"].push_back(
        {{"met", check.met}, {"claim", check.claim}, {"measured", check.measured}});
  for (const Findings::Row& row : ran.findings.rows()) {
    const Spread spread = SpreadOf(row.values);
    json["rows"].push_back({{"measured", row.metric},
                            {"network", row.arm},
                            {"setting", row.x},
                            {"mean", spread.mean},
                            {"sd", spread.sd},
                            {"values", row.values}});
  }
  return json.dump(1) + "\n";
}

std::string Html(const FinishedStudy& ran) {
  const Recipe& recipe = ran.lab.recipe();
  Page page("Study " + ran.study.FileName() + ": " + ran.findings.Verdict(), ran.study.claim);
  page.Text(ran.findings.Paragraph(ran.study.claim));
  for (const Chart& chart : ran.findings.charts()) page.Plot(chart);
  page.Heading("What was expected, and what was measured");
  std::vector<std::vector<std::string>> rows;
  for (const Findings::Check& check : ran.findings.checks())
    rows.push_back({check.claim, check.measured, check.met ? "yes" : "no"});
  page.Table({"expected", "measured", "seen"}, rows);
  page.Heading("How it was done");
  page.Text(ran.study.method);
  page.Text(fmt::format(
      "Data: {}, {} samples to train and {} to test. {} seeds of initial weights and shuffling, "
      "from {} on; {:.1f} s. A run whose loss or gradient became infinite or NaN counts as "
      "guessing. Bands reach from the smallest to the largest seed; ± is the standard deviation "
      "over seeds. A difference counts as clear where its mean over seeds is more than twice its "
      "standard error.",
      recipe.data.kind, ran.lab.data().train.indices.size(), ran.lab.data().test.indices.size(),
      ran.lab.seeds(), recipe.train.seed, ran.seconds));
  page.Heading("Numbers");
  page.Text("The setting is the " + ran.study.x_label +
            ". Every seed's value is in results.csv and results.json.");
  for (const Table& table : Tables(ran.findings)) {
    std::vector<std::string> header = {""};
    for (const double setting : table.settings)
      header.push_back(table.settings.size() > 1 ? Number(setting) : "");
    rows.clear();
    for (size_t a = 0; a < table.arms.size(); ++a) {
      rows.push_back({table.arms[a]});
      rows.back().insert(rows.back().end(), table.cells[a].begin(), table.cells[a].end());
    }
    page.Table(table.metric, header, rows);
  }
  return page.Html();
}

Status RunOne(const Study& study, const std::string& folder, const StudyArgs& args) {
  const Clock::time_point start = Clock::now();
  LOCKSTEP_TRY_ASSIGN(Lab lab, Lab::Make(study, args.overrides, args.seeds));
  LOCKSTEP_TRY(CreateFolders(folder));
  Findings findings;
  LOCKSTEP_TRY(study.run(lab, findings).At("study " + study.FileName()));
  const FinishedStudy ran{study, lab, findings,
                          std::chrono::duration<double>(Clock::now() - start).count()};
  LOCKSTEP_TRY(WriteFileAtomically(folder + "/results.csv", Csv(ran)));
  LOCKSTEP_TRY(WriteFileAtomically(folder + "/results.json", JsonText(ran)));
  LOCKSTEP_TRY(WriteFileAtomically(folder + "/index.html", Html(ran)));
  Print(ran, folder);
  return Status::Ok();
}

}  // namespace

Status RunStudy(const StudyArgs& args) {
  const std::vector<Study> studies = Studies();
  if (args.name.empty() || args.name == "list") {
    for (const Study& study : studies) {
      if (!study.cnn) fmt::print("{:<10} {}\n", study.name, study.claim);
    }
    fmt::print("{:<10} every one of them\n", "all");
    for (const Study& study : studies) {
      if (study.cnn) fmt::print("{:<10} {}\n", study.name + " --cnn", study.claim);
    }
    return Status::Ok();
  }
  const bool all = args.name == "all";
  std::vector<std::string> names = {"all", "list"};
  std::vector<std::string> with_cnn;
  bool known = false;
  for (const Study& study : studies) {
    names.push_back(study.name);
    if (study.cnn) with_cnn.push_back(study.name);
    known = known || args.name == study.name;
    if (study.cnn != args.cnn || (!all && args.name != study.name)) continue;
    std::string folder = args.output.empty() ? "runs/study_" + study.FileName() : args.output;
    if (all && !args.output.empty()) folder += "/" + study.FileName();
    LOCKSTEP_TRY(RunOne(study, folder, args));
    if (!all) return Status::Ok();
  }
  if (all) return Status::Ok();
  if (known) {
    return Status::Invalid("study " + args.name + " has no form for --cnn, which is for " +
                           Listed(with_cnn));
  }
  return Status::Invalid("there is no study " + Quoted(args.name) + "; did you mean " +
                         NearestName(args.name, names) + "? (lockstep study lists them)");
}

}  // namespace lockstep::tools
