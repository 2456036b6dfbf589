use super::*;

#[test]
fn question_mark_takes_any_error() {
    fn of_io() -> Result<()> {
        Err(std::io::Error::from_raw_os_error(2))?
    }
    let error = of_io().unwrap_err();
    assert!(error.to_string().contains("No such file"), "{error}");
    assert!(matches!(error, Error::Other { os_error: Some(2), .. }));
    fn of_text() -> Result<()> {
        Err::<(), Box<dyn StdError + Send + Sync>>("a text".into())?;
        Ok(())
    }
    assert_eq!(of_text().unwrap_err().root_cause().to_string(), "a text");
    fn ours_in_a_box() -> Result<()> {
        let ours = Error::system("cannot do it", "because");
        let boxed: Box<dyn StdError> = Box::new(std::io::Error::other(ours));
        Err(boxed)?
    }
    assert_eq!(ours_in_a_box().unwrap_err(), Error::system("cannot do it", "because"));
}

#[test]
fn text_ends_with_the_root_cause_once() {
    let first = TaskError::new(ErrorKind::Panicked, "at the root").of_function("first");
    let second = TaskError::dependency("second", &first);
    let third = Error::from(TaskError::new(ErrorKind::Failed, "").of_function("third").because(second));
    let root = "remote `first` panicked: at the root";
    assert_eq!(third.to_string(), format!("remote `third` failed: {root}"));
    assert_eq!(third.root_cause().to_string(), root);
    assert_eq!(format!("{third:?}").matches(root).count(), 1);
    assert_eq!(format!("{third:?}").lines().count(), 3);
}

#[test]
fn long_chain_of_causes_is_cut_and_a_longer_one_rejected() {
    let first = TaskError::new(ErrorKind::Panicked, "first");
    let mut error = first.clone();
    for _ in 0..1000 {
        error = TaskError::new(ErrorKind::Failed, "next").because(error);
    }
    assert_eq!(error.root_cause(), &first);
    let bytes = codec::encode(&error).unwrap();
    assert_eq!(codec::decode::<TaskError>(&bytes).unwrap(), error);
    for _ in 0..100 {
        let next = TaskError::new(ErrorKind::Failed, "next");
        error = TaskError { cause: Some(Box::new(error)), ..next };
    }
    assert!(codec::decode::<TaskError>(&codec::encode(&error).unwrap()).is_err());
}
