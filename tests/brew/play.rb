# frozen_string_literal: true

# Plays what Homebrew does with a formula, as far as one machine without Homebrew can: fetch and check, install into a Cellar, make
# everything read-only, link, run `test do`.
#
#   ruby tests/brew/play.rb FORMULA PREFIX [--as OS-ARCH]   install and link below PREFIX; then test
#   ruby tests/brew/play.rb FORMULA --describe              what it says for each system, as JSON
#
# Only what the formula uses is played, and a method that is not is an error, as it should be.

require "digest"
require "fileutils"
require "json"
require "open3"
require "pathname"
require "tmpdir"

class Pathname
  def install(*sources)
    sources.flatten.each do |source|
      pairs = source.is_a?(Hash) ? source : { source => File.basename(source.to_s) }
      pairs.each do |from, name|
        mkpath
        FileUtils.mv(from.to_s, (self / name.to_s).to_s)
      end
    end
  end
end

# What a formula says of itself.
class Formula
  NAME = "stigmer"
  SYSTEM = ENV.fetch("PLAY_AS").split("-")

  class << self
    attr_reader :said, :test_block, :service_said

    def inherited(formula)
      super
      formula.instance_variable_set(:@said, {})
    end

    %i[desc homepage version license url sha256].each do |name|
      define_method(name) { |value| @said[name] = value }
    end

    def livecheck(&block)
      @said[:livecheck] = Livecheck.new(&block).said
    end

    def on_macos(&block) = (instance_eval(&block) if SYSTEM[0] == "darwin")
    def on_linux(&block) = (instance_eval(&block) if SYSTEM[0] == "linux")
    def on_arm(&block) = (instance_eval(&block) if SYSTEM[1] == "arm64")
    def on_intel(&block) = (instance_eval(&block) if SYSTEM[1] == "amd64")

    def service(&block)
      @service_said = block
    end

    def test(&block)
      @test_block = block
    end
  end

  # `livecheck do`
  class Livecheck
    attr_reader :said

    def initialize(&block)
      @said = {}
      instance_eval(&block)
    end

    def url(value) = @said[:url] = value

    def strategy(name, &block)
      @said[:strategy] = name
      @said[:block] = block
    end
  end

  # `service do`
  class Service
    attr_reader :said

    def initialize(formula, &block)
      @formula = formula
      @said = {}
      instance_eval(&block)
    end

    def opt_bin = @formula.opt_bin
    def var = @formula.var

    %i[run keep_alive log_path error_log_path].each do |name|
      define_method(name) { |value| @said[name] = value }
    end
  end

  attr_reader :buildpath, :testpath, :homebrew

  def initialize(homebrew)
    @homebrew = Pathname(homebrew)
  end

  def version = self.class.said.fetch(:version)
  def prefix = homebrew/"Cellar"/NAME/version
  def bin = prefix/"bin"
  def man1 = prefix/"share/man/man1"
  def opt_bin = homebrew/"opt"/NAME/"bin"
  def var = homebrew/"var"

  def chmod(mode, path) = File.chmod(mode, path)

  def system(*command)
    command = command.map(&:to_s)
    Kernel.system(*command) || abort("#{command.join(" ")} failed")
  end

  def generate_completions_from_executable(executable, *arguments, shells:)
    places = { bash: ["etc/bash_completion.d", NAME], zsh: ["share/zsh/site-functions", "_#{NAME}"],
               fish: ["share/fish/vendor_completions.d", "#{NAME}.fish"] }
    shells.each do |shell|
      said, status = Open3.capture2(executable.to_s, *arguments, shell.to_s)
      abort "no completions for #{shell}" unless status.success?
      directory, name = places.fetch(shell)
      (prefix/directory).mkpath
      (prefix/directory/name).write(said)
    end
  end

  def shell_output(command, expected = 0)
    said, status = Open3.capture2(command)
    abort "#{command}: exit code #{status.exitstatus}, not #{expected}\n#{said}" if status.exitstatus != expected
    said
  end

  def assert_match(wanted, said)
    abort "#{wanted.inspect} is not in #{said.inspect}" unless said.match?(wanted.is_a?(Regexp) ? wanted : Regexp.escape(wanted))
  end

  # Fetches, checks, and installs, and makes read-only what is in the Cellar.
  def pour
    Dir.mktmpdir do |dir|
      @buildpath = Pathname(dir)
      url = self.class.said.fetch(:url)
      file = buildpath/File.basename(url)
      system "curl", "-fsSL", "--output", file, url
      found = Digest::SHA256.file(file).hexdigest
      abort "#{url}: SHA-256 is #{found}, not as in the formula" if found != self.class.said.fetch(:sha256)
      Dir.chdir(dir) { install }
    end
    Dir.glob(prefix/"**/*").each { |path| File.chmod(File.directory?(path) || File.executable?(path) ? 0o555 : 0o444, path) }
    File.chmod(0o555, prefix)
    link(prefix, homebrew/"opt"/NAME)
    link(bin/NAME, homebrew/"bin"/NAME)
  end

  # A relative link, as Homebrew makes them.
  def link(target, place)
    place.dirname.mkpath
    place.unlink if place.symlink?
    place.make_symlink(target.relative_path_from(place.dirname))
  end

  def check
    Dir.mktmpdir do |dir|
      @testpath = Pathname(dir)
      Dir.chdir(dir) { instance_eval(&self.class.test_block) }
    ensure
      Kernel.system("chmod", "-R", "u+w", dir)
    end
  end
end

formula_file, argument = ARGV
load formula_file
if argument == "--describe"
  said = Stigmer.said
  listing = { "releases" => [{ "version" => "2.0.0-beta.1", "channel" => "beta" }, { "version" => "1.0.0", "channel" => "stable" }] }
  live = said.delete(:livecheck)
  said[:newest] = live[:block].call(listing)
  said[:livecheck] = live[:url]
  said[:service] = Formula::Service.new(Stigmer.new("/opt/homebrew"), &Stigmer.service_said).said
  puts JSON.generate(said)
else
  formula = Stigmer.new(File.expand_path(argument))
  formula.pour
  formula.check
  puts formula.prefix
end
