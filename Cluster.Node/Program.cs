Console.WriteLine("myrmidon");
