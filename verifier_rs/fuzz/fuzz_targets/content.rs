use _verifier::content::{self, Rules, yara::RuleFile};
use _verifier::source::Progress;

/// A time within the validity of the seeds.
const AT: f64 = 1_795_262_400.0;

pub fn run(data: &[u8]) {
    let rules = RuleFile {
        name: "lotgate.yar".to_owned(),
        text: include_str!("../../../portal/rules/lotgate.yar").to_owned(),
    };
    let rules = Rules::new(&["00".repeat(32)], vec![rules]).expect("a digest");
    let mut nobody = |_| Ok(());
    let source = super::source(data);
    content::examine(&source, &rules, AT, &mut Progress::new(&mut nobody)).expect("memory can be read");
}
