// The commands of the lockstep program. Each takes its parsed arguments and returns what went
// wrong; main() prints that. Those that take Ranks run on all of them together.
#ifndef LOCKSTEP_TOOLS_COMMAND_COMMANDS_H_
#define LOCKSTEP_TOOLS_COMMAND_COMMANDS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/status.h"

namespace lockstep::inline v0_1::tools {

class Ranks;
struct SetData;

struct TrainArgs {
  std::string recipe{};                  // a file; unused with `resume`
  std::vector<std::string> overrides{};  // key=value
  std::string resume{};                  // a run folder: go on with its last checkpoint
  bool auto_resume = false;              // go on with the run in output.folder where there is one
  bool print_recipe = false;             // print the recipe with all its keys instead of training
  bool curve = false;                    // draw the losses in characters
  std::string digest{};                  // a file for the hashes of every step; empty: none
  int64_t folds = 0;                     // data.folds, unless 0
  std::string seeds{};                   // train.seeds: how many, or a list; empty: as they are
};
// `of_set`: of a run that is one of a set (run_set.h), what it leaves to the next.
Status Train(const TrainArgs& args, Ranks& ranks, SetData* of_set = nullptr);

struct EvalArgs {
  std::string model{};                   // a run folder or a checkpoint file
  std::vector<std::string> overrides{};  // key=value: other data, for instance
  std::string split = "test";            // train, validation or test
  std::string data{};                    // other pictures, all of which are measured
};
Status Eval(const EvalArgs& args, Ranks& ranks);

struct PredictArgs {
  std::string model{};                // a run folder or a model file
  std::vector<std::string> inputs{};  // a CSV file; of pictures files and folders, or an IDX file
  std::string output{};               // a CSV file; empty: standard output
  std::vector<std::string> overrides{};  // key=value: another delimiter, for instance
  int64_t top =
      -1;  // the likeliest classes alone; 0: all of them; -1: of picture files 1, else all
  std::string explain{};  // the number of a row, from 1, or "all": by column, why; empty: not
};
Status Predict(const PredictArgs& args);

struct GenerateArgs {
  std::string model{};                   // a run folder or a model file
  std::vector<std::string> overrides{};  // key=value: other threads, for instance
  bool has_prompt = false;
  std::string prompt{};       // the text that is gone on with, where has_prompt
  std::string prompt_file{};  // else this file's; else standard input, unless that is a terminal
  int64_t tokens = 200;       // at most
  double temperature = 1.0;
  bool greedy = false;  // temperature 0
  int64_t top_k = 0;
  double top_p = 1.0;
  double repetition_penalty = 1.0;
  int64_t seed = 1;
};
// Prints how a language model goes on with a text.
Status Generate(const GenerateArgs& args);

struct ExportArgs {
  std::string model{};       // a run folder or a checkpoint file
  std::string output{};      // NAME.onnx or NAME.safetensors
  bool fold = false;         // batch norms into the products before them
  bool standardize = false;  // the file takes raw features; of a table, its rows as they are
};
// Writes a trained model in a format that other programs read.
Status Export(const ExportArgs& args);

struct ImportArgs {
  // Says what network the weights are of, and its data. Empty for GPT-2's weights, which say it
  // themselves, beside which their tokenizer may be.
  std::string recipe{};
  std::string weights{};                 // a safetensors file
  std::string output{};                  // the model file
  std::vector<std::string> overrides{};  // key=value
};
// Makes weights that another program trained a model that eval, predict and export take.
Status Import(const ImportArgs& args);

// Says where two digests first differ, which is an error.
Status CompareDigestFiles(const std::string& a, const std::string& b);

// Says what is in a file of tensors.
Status Inspect(const std::string& path);

struct PlanArgs {
  std::string recipe{};
  std::vector<std::string> overrides{};
};
// Layers, shapes, parameters, operations, memory and fusions, before anything runs.
Status Plan(const PlanArgs& args);

struct ScaleArgs {
  std::string recipe{};
  std::vector<std::string> overrides{};
  std::string threads{};  // "1,2,4"; empty: doubling, up to what may be used
  std::string ranks = "1";
  bool strong = false, weak = false;  // neither: strong
  int64_t repetitions = 15;           // rounds
  double seconds = 3.0;               // for each point
  bool loading = false;               // a step begins with loading its batch
  int64_t predict = 0;                // up to so many ranks; 0: not
  std::string network{};              // "LATENCY_US,GB/S" for that
  std::string launcher = "mpirun -n {}";
  std::string out{};             // folder; empty: runs/scale_NAME
  std::string json{}, csv{};     // further files
  std::string format = "table";  // what is printed: table, json, csv, reframe, mllog
  std::string worker{};          // ranks that this program has launched write there
};
// Measures how the training step of a recipe scales.
Status RunScale(const ScaleArgs& args, Ranks& ranks);

struct DataArgs {
  std::string name{};  // of a built-in set, or a table's file, or a recipe; empty: the list of sets
  std::vector<std::string> overrides{};  // key=value, of a file
  std::string output{};  // write the samples there: a CSV file, a folder of IDX files, a text file
  int64_t rows = 5;      // to show
  int64_t size = 0;      // samples to make; 0: the set's own
  int64_t seed = 1;
};
// Lists, shows or writes the built-in sets; shows what is understood of a table.
Status Data(const DataArgs& args);

struct TokenizeArgs {
  std::vector<std::string> inputs{};  // text files or folders of them; to decode, files of tokens
  std::string tokenizer{};  // bytes, characters, a tokenizer.json or its folder, a run or a model
  std::string text{};       // instead of a file, or before them
  bool has_text = false;
  std::string output{};      // NAME.bin or NAME.npy; empty: standard output
  bool decode = false;       // from tokens to text
  bool end_of_text = false;  // a token for it behind each text
  bool plain = false;        // decode: .bin files are uint16 without a header
};
// Texts to tokens and back.
Status Tokenize(const TokenizeArgs& args);

// What bash may complete behind a command.
struct CommandWords {
  std::string name;
  std::vector<std::string> options;
  bool takes_overrides = false;
};
// A script to be sourced by bash.
std::string BashCompletion(const std::vector<CommandWords>& commands);

struct StudyArgs {
  std::string name{};                    // of a study, or "all"; empty or "list": list them
  bool cnn = false;                      // its form with convolutional networks
  std::vector<std::string> overrides{};  // key=value
  int64_t seeds = 5;
  std::string output{};  // folder; empty: runs/study_NAME, or runs/study_NAME_cnn
};
Status RunStudy(const StudyArgs& args);

}  // namespace lockstep::tools

#endif  // LOCKSTEP_TOOLS_COMMAND_COMMANDS_H_
