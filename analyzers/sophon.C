// Score every jet of a Delphes event file with a network written by `python -m training export`.
//
//   root -l -b -q 'analyzers/sophon.C("events.root", "sophon.onnx", "scores.root")'
//
// Runs interpreted or compiled (`sophon.C+`) and needs ROOT and ONNX Runtime, but no Delphes:
// docs/analyzers.md says how to get and name them, and what the columns of the result are. Jets,
// probabilities and embedding are those of `python -m training predict --input events.root`.

#define ORT_API_MANUAL_INIT  // the library is loaded when the macro runs, not linked
#include <onnxruntime_cxx_api.h>  // set ROOT_INCLUDE_PATH to the folder that holds this file

#include <Math/Vector4D.h>
#include <Math/VectorUtil.h>
#include <TBufferJSON.h>
#include <TError.h>
#include <TFile.h>
#include <TROOT.h>
#include <TSystem.h>
#include <TTree.h>
#include <TTreeReader.h>
#include <TTreeReaderArray.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <iostream>
#include <limits>
#include <memory>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace {

using Momentum = ROOT::Math::PxPyPzEVector;
using ROOT::Math::VectorUtil::Phi_mpi_pi;

// Jets as `python -m ntuplizer jets` makes them: anti-kT, soft drop with beta = 0. In GeV.
constexpr double kRadius = 0.8;
constexpr double kPtMin = 200;
constexpr double kEtaMax = 2.5;
constexpr double kSoftDropZCut = 0.1;
// Constituents beyond these are unphysical leftovers of the simulation.
constexpr double kConstituentEtaMax = 5;
constexpr double kConstituentPzMax = 10000;
// An event with more in one candidate is left out; a file that loses more than this is damaged.
constexpr double kEnergyLimit = 1e6;
constexpr double kMaxSkippedFraction = 0.1;
// How many jets the network gets at a time: it needs some 10 MB for each.
constexpr int kBatch = 64;

[[noreturn]] void fail(const std::string& reason) { throw std::runtime_error(reason); }

// ---------------------------------------------------------------------------------- clustering

// A particle, or the sum of two earlier ones.
struct PseudoJet {
   Momentum momentum;
   int parents[2] = {-1, -1};
};

// Sequential recombination in the E scheme with d_ij = min(pT_i^2p, pT_j^2p) dR_ij^2 and
// d_iB = pT_i^2p R^2: anti-kT has p = -1 (arXiv:0802.1189), Cambridge/Aachen p = 0. `history` holds
// the particles and gets the sums; returned are the positions of the jets.
//
// If i and j are closest in d_ij, one is the other's neighbour in dR (hep-ph/0512210), so that one
// neighbour each is all to remember. An event has some hundred candidates: FastJet would save no
// time and is one more library to find.
std::vector<int> recombine(std::vector<PseudoJet>& history, double power, double radius)
{
   const size_t most = 2 * history.size();
   std::vector<double> rapidity(most), phi(most), scale(most), reach2(most);
   std::vector<int> neighbour(most), active, jets;

   auto place = [&](int i) {
      const Momentum& p = history[i].momentum;
      rapidity[i] = p.Rapidity();
      phi[i] = p.Phi();
      scale[i] = std::min(std::pow(p.Perp2(), power), 1e300);  // particles at rest do exist
   };
   auto distance2 = [&](int i, int j) {
      const double dy = rapidity[i] - rapidity[j], dphi = Phi_mpi_pi(phi[i] - phi[j]);
      return dy * dy + dphi * dphi;
   };
   auto consider = [&](int i, int j) {
      const double d2 = distance2(i, j);
      if (d2 < reach2[i]) {
         reach2[i] = d2;
         neighbour[i] = j;
      }
   };
   auto findNeighbour = [&](int i) {
      reach2[i] = radius * radius;
      neighbour[i] = -1;
      for (int j : active)
         if (j != i) consider(i, j);
   };
   auto measure = [&](int i) {
      return reach2[i] * (neighbour[i] < 0 ? scale[i] : std::min(scale[i], scale[neighbour[i]]));
   };

   active.resize(history.size());
   std::iota(active.begin(), active.end(), 0);
   for (int i : active) place(i);
   for (int i : active) findNeighbour(i);
   while (!active.empty()) {
      int first = active.front();
      for (int i : active)
         if (measure(i) < measure(first)) first = i;
      const int second = neighbour[first], sum = history.size();
      auto gone = [&](int i) { return i == first || (second >= 0 && i == second); };
      active.erase(std::remove_if(active.begin(), active.end(), gone), active.end());
      if (second < 0) {
         jets.push_back(first);
      } else {
         history.push_back({history[first].momentum + history[second].momentum, {first, second}});
         active.push_back(sum);
         place(sum);
         findNeighbour(sum);
      }
      for (int i : active)
         if (gone(neighbour[i]))
            findNeighbour(i);
         else if (second >= 0 && i != sum)
            consider(i, sum);
   }
   return jets;
}

// The particles in a pseudojet.
std::vector<int> constituents(const std::vector<PseudoJet>& history, int jet)
{
   std::vector<int> found, waiting = {jet};
   while (!waiting.empty()) {
      const int i = waiting.back();
      waiting.pop_back();
      if (history[i].parents[0] < 0)
         found.push_back(i);
      else
         waiting.insert(waiting.end(), history[i].parents, history[i].parents + 2);
   }
   return found;
}

// The mass after soft drop with beta = 0 (arXiv:1402.2657), in GeV; when no step passes, the mass
// of the last particle.
double softDropMass(std::vector<PseudoJet> particles)
{
   int current = recombine(particles, 0, std::numeric_limits<double>::infinity()).front();
   while (particles[current].parents[0] >= 0) {
      int harder = particles[current].parents[0], softer = particles[current].parents[1];
      if (particles[harder].momentum.Pt() < particles[softer].momentum.Pt())
         std::swap(harder, softer);
      const double ptHarder = particles[harder].momentum.Pt();
      const double ptSofter = particles[softer].momentum.Pt();
      if (ptSofter > kSoftDropZCut * (ptHarder + ptSofter)) break;
      current = harder;
   }
   return particles[current].momentum.M();
}

// -------------------------------------------------------------------------------------- events

// The branches of an event that jets are made from, each read as plain numbers.
struct EventReader {
   TTreeReader reader;
   TTreeReaderArray<float> pt, eta, phi, mass, cotTheta, d0, dz, errorD0, errorDz;
   TTreeReaderArray<int> charge, pid;
   std::optional<TTreeReaderArray<float>> vertexZ;  // events without pile-up may lack it
   std::optional<TTreeReaderArray<Long64_t>> number;

   explicit EventReader(TTree* tree)
      : reader(tree), pt(reader, branch("PT")), eta(reader, branch("Eta")),
        phi(reader, branch("Phi")), mass(reader, branch("Mass")),
        cotTheta(reader, branch("CtgTheta")), d0(reader, branch("D0")), dz(reader, branch("DZ")),
        errorD0(reader, branch("ErrorD0")), errorDz(reader, branch("ErrorDZ")),
        charge(reader, branch("Charge")), pid(reader, branch("PID"))
   {
      if (tree->GetBranch("Vertex.Z")) vertexZ.emplace(reader, "Vertex.Z");
      if (tree->GetBranch("Event.Number")) number.emplace(reader, "Event.Number");
   }

   // Whether all values are finite and possible. Reads all branches.
   bool physical()
   {
      for (size_t size : {eta.GetSize(), phi.GetSize(), mass.GetSize(), cotTheta.GetSize(),
                          d0.GetSize(), dz.GetSize(), errorD0.GetSize(), errorDz.GetSize(),
                          charge.GetSize(), pid.GetSize()})
         if (size != pt.GetSize()) fail("damaged, its branches are of different lengths");
      for (auto* values : {&pt, &eta, &phi, &mass, &cotTheta, &d0, &dz, &errorD0, &errorDz})
         for (float value : *values)
            if (!std::isfinite(value)) return false;
      for (size_t i = 0; i < pt.GetSize(); ++i)
         if (pt[i] < 0 || pt[i] > kEnergyLimit || std::abs(mass[i]) > kEnergyLimit) return false;
      if (vertexZ)
         for (float z : *vertexZ)
            if (!std::isfinite(z)) return false;
      return true;
   }

   // What Delphes clustered: old files hold the eta at the calorimeter for tracks, so that pz comes
   // from cot(theta).
   std::vector<PseudoJet> particles()
   {
      std::vector<PseudoJet> result;
      for (size_t i = 0; i < pt.GetSize(); ++i) {
         const double t = pt[i], azimuth = phi[i], z = t * cotTheta[i], m = mass[i];
         const double energy = std::sqrt(t * t + z * z + m * m);
         result.push_back({{t * std::cos(azimuth), t * std::sin(azimuth), z, energy}});
      }
      return result;
   }

private:
   const char* branch(const char* leaf)
   {
      const TBranch* found = reader.GetTree()->GetBranch(Form("ParticleFlowCandidate.%s", leaf));
      if (!found) fail(Form("the tree Delphes has no branch ParticleFlowCandidate.%s", leaf));
      return found->GetName();
   }
};

// What a network can ask of a constituent, by the names of Sophon's data card.
const std::vector<std::string> kVariables = {
    "part_pt_scale_log", "part_e_scale_log", "part_logptrel",
    "part_logerel", "part_deltaR", "part_charge",
    "part_isChargedHadron", "part_isNeutralHadron", "part_isPhoton",
    "part_isElectron", "part_isMuon", "part_d0", "part_d0err", "part_dz",
    "part_dzerr", "part_deta", "part_dphi", "part_px_scale", "part_py_scale", "part_pz_scale",
    "part_energy_scale"};
using Variables = std::array<float, 21>;

// A jet as it is written, and what the network sees of it.
struct Jet {
   Long64_t entry, number;
   Int_t index, nConstituents;
   Float_t pt, eta, phi, energy, softDropMass;
   Bool_t selected;
   std::vector<Variables> particles;
};

// The variables of one constituent, in the order of `kVariables`, line by line. Numbers are rounded
// as in a jet file.
Variables variablesOf(EventReader& event, int i, const Jet& jet, float referencePt)
{
   const double t = event.pt[i], pzOverPt = std::sinh(double(event.eta[i])), m = event.mass[i];
   const float px = t * std::cos(double(event.phi[i])), py = t * std::sin(double(event.phi[i]));
   const float pz = t * pzOverPt;
   const float energy =
      std::sqrt(std::max(t * t + t * t * pzOverPt * pzOverPt + m * std::abs(m), 0.));
   const float side = jet.eta > 0 ? 1 : -1;
   const float deta = side * (double(event.eta[i]) - jet.eta);
   const float dphi = Phi_mpi_pi(double(event.phi[i]) - jet.phi);
   const double vertexZ = event.vertexZ && event.vertexZ->GetSize() ? (*event.vertexZ)[0] : 0;
   const float dz = event.dz[i] != 0 ? event.dz[i] - vertexZ : 0;

   const bool charged = event.charge[i] != 0;
   const int pdg = std::abs(event.pid[i]);
   const bool electron = pdg == 11, muon = pdg == 13, photon = pdg == 22;
   const float scale = referencePt / jet.pt, pt = std::hypot(px, py);
   return {std::log(pt * scale), std::log(energy * scale), std::log(pt / jet.pt),
           std::log(energy / jet.energy), std::hypot(deta, dphi), float(event.charge[i]),
           float(charged && !electron && !muon), float(!charged && !photon), float(photon),
           float(electron), float(muon), std::tanh(event.d0[i]), event.errorD0[i], std::tanh(dz),
           event.errorDz[i], deta, dphi, px * scale, py * scale, pz * scale,
           energy * scale};
}

// The jets of the event, by falling pT, with all constituents that are physical, by falling pT.
std::vector<Jet> jetsOf(EventReader& event, float referencePt)
{
   std::vector<PseudoJet> history = event.particles();
   const std::vector<int> found = recombine(history, -1, kRadius);
   std::vector<std::pair<double, int>> byPt;
   for (int i : found) byPt.emplace_back(-history[i].momentum.Pt(), i);
   std::sort(byPt.begin(), byPt.end());

   std::vector<Jet> jets;
   for (const auto& [negativePt, position] : byPt) {
      const Momentum& p = history[position].momentum;
      Jet jet{};
      jet.entry = event.reader.GetCurrentEntry();
      jet.number = event.number && event.number->GetSize() ? (*event.number)[0] : jet.entry;
      jet.index = jets.size();
      jet.pt = p.Pt();
      jet.eta = std::asinh(p.Pz() / p.Pt());
      jet.phi = p.Phi();
      if (p.Pt() < kPtMin || std::abs(jet.eta) > kEtaMax) continue;
      const double momentum = jet.pt * std::cosh(double(jet.eta)), mass = float(p.M());
      jet.energy = std::sqrt(std::max(momentum * momentum + mass * std::abs(mass), 0.));

      std::vector<int> members = constituents(history, position);
      std::sort(members.begin(), members.end(),
                [&](int i, int j) { return event.pt[i] > event.pt[j]; });
      std::vector<PseudoJet> particles;
      for (int i : members) {
         particles.push_back({history[i].momentum});
         const double pz = event.pt[i] * std::sinh(event.eta[i]);
         if (event.pt[i] > 0 && std::abs(event.eta[i]) <= kConstituentEtaMax &&
             std::abs(pz) <= kConstituentPzMax)
            jet.particles.push_back(variablesOf(event, i, jet, referencePt));
      }
      jet.softDropMass = softDropMass(particles);
      jet.nConstituents = jet.particles.size();
      jets.push_back(std::move(jet));
   }
   return jets;
}

// ------------------------------------------------------------------------------------- network

// A variable that becomes an input: clip((variable - centre) * factor, low, high).
struct Input {
   int variable;
   float centre = 0, factor = 1, low = -std::numeric_limits<float>::max(), high = -low;
};

class Network {
public:
   std::vector<std::string> labels;
   int width;  // of the embedding
   float referencePt;
   std::vector<float> ptRange, softDropMassRange;  // of the jets that it was trained on

   explicit Network(const std::string& path) : session(open(path))
   {
      const auto metadata = session.GetModelMetadata();
      labels = read<std::vector<std::string>>(metadata, "labels");
      referencePt = read<std::vector<float>>(metadata, "reference_pt").at(0);
      maxConstituents = read<std::vector<float>>(metadata, "max_constituents").at(0);
      ptRange = read<std::vector<float>>(metadata, "selected_jet_pt");
      softDropMassRange = read<std::vector<float>>(metadata, "selected_jet_sdmass");
      features = inputs(read<std::vector<std::string>>(metadata, "feature_names"));
      vectors = inputs(read<std::vector<std::string>>(metadata, "vector_names"));
      const auto scaling = read<std::vector<std::vector<float>>>(metadata, "feature_scaling");
      for (size_t i = 0; i < features.size(); ++i) {
         const std::vector<float>& s = scaling.at(i);
         features[i] = {features[i].variable, s.at(0), s.at(1), s.at(2), s.at(3)};
      }
      checkShapes();
   }

   // Probabilities (n_jets, n_labels) and embedding (n_jets, width), one jet after the other.
   std::pair<std::vector<float>, std::vector<float>> operator()(const std::vector<Jet>& jets)
   {
      size_t length = 1;
      for (const Jet& jet : jets) length = std::max(length, jet.particles.size());
      length = std::min<size_t>(length, maxConstituents);
      std::vector<float> mask(jets.size() * length);
      for (size_t j = 0; j < jets.size(); ++j)
         std::fill_n(&mask[j * length], std::min(jets[j].particles.size(), length), 1.f);
      std::vector<float> arrays[3] = {pad(jets, features, length), pad(jets, vectors, length),
                                      std::move(mask)};
      const size_t rows[3] = {features.size(), vectors.size(), 1};

      const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
      std::vector<Ort::Value> tensors;
      for (int i = 0; i < 3; ++i) {
         const std::array<int64_t, 3> shape = {int64_t(jets.size()), int64_t(rows[i]),
                                               int64_t(length)};
         tensors.push_back(Ort::Value::CreateTensor<float>(memory, arrays[i].data(),
                                                           arrays[i].size(), shape.data(), 3));
      }
      auto results = session.Run(Ort::RunOptions{}, inputNames, tensors.data(), 3, outputNames, 2);
      auto values = [&](int i, size_t n) {
         const float* data = results[i].GetTensorData<float>();
         return std::vector<float>(data, data + n);
      };
      return {values(0, jets.size() * labels.size()), values(1, jets.size() * width)};
   }

private:
   static constexpr const char* inputNames[] = {"pf_features", "pf_vectors", "pf_mask"};
   static constexpr const char* outputNames[] = {"probabilities", "embedding"};

   Ort::Env environment{nullptr};
   Ort::Session session;
   std::vector<Input> features, vectors;
   size_t maxConstituents;

   Ort::Session open(const std::string& path)
   {
      environment = Ort::Env(ORT_LOGGING_LEVEL_ERROR, "sophon.C");
      Ort::SessionOptions options;
      // One core, or those of `root -t`.
      options.SetIntraOpNumThreads(std::max(1, int(ROOT::GetThreadPoolSize())));
      return Ort::Session(environment, path.c_str(), options);
   }

   template <class T>
   static T read(const Ort::ModelMetadata& metadata, const char* key)
   {
      Ort::AllocatorWithDefaultOptions allocator;
      const auto text = metadata.LookupCustomMetadataMapAllocated(key, allocator);
      if (!text)
         fail(std::string("its metadata have no `") + key +
              "`: export it again with `python -m training export`");
      // ROOT reads lists only.
      const std::string list = text.get()[0] == '[' ? text.get() : Form("[%s]", text.get());
      const std::unique_ptr<T> value = TBufferJSON::FromJSON<T>(list);
      if (!value) fail(std::string("its metadata `") + key + "` are not what is expected");
      return *value;
   }

   static std::vector<Input> inputs(const std::vector<std::string>& names)
   {
      std::vector<Input> result;
      for (const std::string& name : names) {
         const auto found = std::find(kVariables.begin(), kVariables.end(), name);
         if (found == kVariables.end()) fail("it asks for the variable " + name + ", unknown here");
         result.push_back({int(found - kVariables.begin())});
      }
      return result;
   }

   void checkShapes()
   {
      Ort::AllocatorWithDefaultOptions allocator;
      std::string found;
      for (size_t i = 0; i < session.GetInputCount(); ++i)
         found += std::string(i ? ", " : "") + session.GetInputNameAllocated(i, allocator).get();
      if (found != "pf_features, pf_vectors, pf_mask")
         fail("its inputs are " + found + " instead of pf_features, pf_vectors, pf_mask");
      auto size = [](const Ort::TypeInfo& info) {
         return info.GetTensorTypeAndShapeInfo().GetShape().at(1);
      };
      if (size(session.GetInputTypeInfo(0)) != int64_t(features.size()) ||
          size(session.GetInputTypeInfo(1)) != int64_t(vectors.size()) ||
          size(session.GetOutputTypeInfo(0)) != int64_t(labels.size()))
         fail("its shapes are not those that its metadata describe");
      width = size(session.GetOutputTypeInfo(1));
   }

   // Inputs of shape (n_jets, n_inputs, length), zero beyond the constituents.
   static std::vector<float> pad(const std::vector<Jet>& jets, const std::vector<Input>& inputs,
                                 size_t length)
   {
      std::vector<float> array(jets.size() * inputs.size() * length);
      float* row = array.data();
      for (const Jet& jet : jets)
         for (const Input& input : inputs) {
            for (size_t i = 0; i < std::min(jet.particles.size(), length); ++i) {
               const float value = jet.particles[i][input.variable];
               row[i] = std::clamp((value - input.centre) * input.factor, input.low, input.high);
            }
            row += length;
         }
      return array;
   }
};

// Finds the library by the name in ONNXRUNTIME_LIBRARY or as libonnxruntime where the system looks.
void loadOnnxRuntime()
{
   const char* named = gSystem->Getenv("ONNXRUNTIME_LIBRARY");
   const std::string library = named ? named : "libonnxruntime";
   if (gSystem->Load(library.c_str()) < 0)
      fail(library + " cannot be loaded: set ONNXRUNTIME_LIBRARY to ONNX Runtime's shared library");
   const auto symbol = gSystem->DynFindSymbol(library.c_str(), "OrtGetApiBase");
   if (!symbol) fail(library + " is not ONNX Runtime's shared library");
   const OrtApiBase* base = reinterpret_cast<decltype(&OrtGetApiBase)>(symbol)();
   const OrtApi* api = base->GetApi(ORT_API_VERSION);
   if (!api)
      fail(Form("ONNX Runtime %s is older than its headers: 1.%d or later is needed",
                base->GetVersionString(), ORT_API_VERSION));
   Ort::InitApi(api);
}

// -------------------------------------------------------------------------------------- output

// A tree with a row per jet, filled a batch at a time.
class Scores {
public:
   Scores(const std::string& path, Network& theNetwork)
      : network(theNetwork), file(TFile::Open(path.c_str(), "RECREATE"))
   {
      if (!file || file->IsZombie()) fail(path + ": cannot be written");
      probabilities.resize(network.labels.size());
      embedding.resize(network.width);
      tree = new TTree("Scores", "a row per jet");  // the file's own
      tree->Branch("entry", &row.entry);
      tree->Branch("event_number", &row.number);
      tree->Branch("jet", &row.index);
      tree->Branch("jet_pt", &row.pt);
      tree->Branch("jet_eta", &row.eta);
      tree->Branch("jet_phi", &row.phi);
      tree->Branch("jet_energy", &row.energy);
      tree->Branch("jet_sdmass", &row.softDropMass);
      tree->Branch("jet_nparticles", &row.nConstituents);
      tree->Branch("selected", &row.selected);
      branch("probabilities", probabilities);
      branch("embedding", embedding);
      // So that tree->Draw("X_bb") works.
      for (size_t i = 0; i < network.labels.size(); ++i)
         tree->SetAlias(network.labels[i].c_str(), Form("probabilities[%zu]", i));
   }

   void add(Jet jet)
   {
      auto inside = [](float x, const std::vector<float>& range) {
         return range.at(0) < x && x < range.at(1);
      };
      jet.selected = inside(jet.pt, network.ptRange) &&
                     inside(jet.softDropMass, network.softDropMassRange);
      waiting.push_back(std::move(jet));
      if (waiting.size() == kBatch) flush();
   }

   Long64_t close()
   {
      flush();
      const Long64_t rows = tree->GetEntries();
      file->Write();
      file->Close();
      return rows;
   }

private:
   Network& network;
   std::unique_ptr<TFile> file;
   TTree* tree;
   Jet row{};
   std::vector<float> probabilities, embedding;
   std::vector<Jet> waiting;

   void branch(const char* name, std::vector<float>& values)
   {
      tree->Branch(name, values.data(), Form("%s[%zu]/F", name, values.size()));
   }

   void flush()
   {
      if (waiting.empty()) return;
      const auto [allProbabilities, allEmbeddings] = network(waiting);
      for (size_t i = 0; i < waiting.size(); ++i) {
         row = waiting[i];
         std::copy_n(&allProbabilities[i * probabilities.size()], probabilities.size(),
                     probabilities.begin());
         std::copy_n(&allEmbeddings[i * embedding.size()], embedding.size(), embedding.begin());
         tree->Fill();
      }
      waiting.clear();
   }
};

// ROOT tells of damaged files on the screen only: keep the first error, drop the warnings about
// classes of Delphes that nobody needs here.
std::string rootError;

void keepError(int level, Bool_t, const char* location, const char* message)
{
   if (level >= kError && rootError.empty()) rootError = Form("%s: %s", location, message);
}

void checkRoot()
{
   if (!rootError.empty()) fail(rootError);
}

// Runs a step and puts the file it is about before what went wrong.
template <class Step>
auto about(const std::string& path, Step step)
{
   try {
      return step();
   } catch (const std::exception& error) {
      fail(path + ": " + error.what());
   }
}

std::unique_ptr<TFile> openEvents(const std::string& path)
{
   if (gSystem->AccessPathName(path.c_str())) fail("no such event file");
   std::unique_ptr<TFile> file(TFile::Open(path.c_str()));
   checkRoot();
   if (!file || file->IsZombie() || file->TestBit(TFile::kRecovered))
      fail("truncated, or not a ROOT file");
   if (!file->Get<TTree>("Delphes"))
      fail("holds no TTree named Delphes, so it is not a Delphes event file");
   return file;
}

// Scores all jets; returns how many, and what else there is to say.
std::string score(const std::string& events, const std::string& model, const std::string& output)
{
   loadOnnxRuntime();
   const auto network = about(model, [&] { return std::make_unique<Network>(model); });
   const auto file = about(events, [&] { return openEvents(events); });
   const auto event = about(events, [&] {
      return std::make_unique<EventReader>(file->Get<TTree>("Delphes"));
   });
   Scores scores(output, *network);

   Long64_t skipped = 0;
   const Long64_t read = about(events, [&] {
      Long64_t done = 0;
      for (; event->reader.Next(); ++done) {
         const bool physical = event->physical();
         checkRoot();
         if (physical)
            for (Jet& jet : jetsOf(*event, network->referencePt)) scores.add(std::move(jet));
         else
            ++skipped;
      }
      checkRoot();
      if (done != event->reader.GetEntries()) fail("damaged, not all events can be read");
      if (skipped > kMaxSkippedFraction * done)
         fail(Form("%lld of %lld events have unphysical values", skipped, done));
      return done;
   });
   const Long64_t jets = scores.close();
   checkRoot();
   return Form("%lld jets of %lld events, %lld left out for unphysical values", jets, read,
               skipped);
}

} // namespace

// Returns 0, or 1 after a sentence that says what was wrong: ROOT's exit code with -q.
int sophon(const char* events, const char* model, const char* output)
{
   const std::string temporary = std::string(output) + ".part";
   const ErrorHandlerFunc_t usual = SetErrorHandler(keepError);
   rootError.clear();
   int problems = 0;
   try {
      const std::string summary = score(events, model, temporary);
      if (gSystem->Rename(temporary.c_str(), output)) fail(std::string(output) + ": not written");
      std::cout << output << ": " << summary << std::endl;
   } catch (const std::exception& error) {
      gSystem->Unlink(temporary.c_str());
      std::cerr << "error: " << error.what() << std::endl;
      problems = 1;
   }
   SetErrorHandler(usual);
   return problems;
}
